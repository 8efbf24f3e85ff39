//! Good tokens, and a table of bad ones: each differs from a good one in what its name says, and in nothing else.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use serde_json::json;

use super::*;
use crate::signer::{Signer, encode, jwks};

const NOW: i64 = 1_000_000;

struct Provider {
    ec: Signer,
    ed: Signer,
    rsa: Signer,
    other: Signer,
    /// Of the same id as `ec`.
    impostor: Signer,
    keys: Keys,
    jwks: Value,
}

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let (ec, ed, rsa) = (Signer::ec("ec"), Signer::ed("ed"), Signer::rsa("rsa"));
    let jwks = jwks(&[&ec, &ed, &rsa]);
    let keys = Keys::read(jwks.to_string().as_bytes()).unwrap();
    Provider { ec, ed, rsa, other: Signer::ec("other"), impostor: Signer::ec("ec"), keys, jwks }
});

fn expected(purpose: Purpose) -> Expected {
    Expected { issuer: "https://idp.example.com".to_owned(), audience: "door".to_owned(), skew: 60, purpose }
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.example.com", "aud": "door", "sub": "alice",
        "exp": NOW + 300, "iat": NOW - 10, "nbf": NOW - 10,
    })
}

/// The claims with one of them as given; without it where that is null.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    if claims[name].is_null() {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims
}

fn header(name: &str, value: Value) -> Value {
    let mut header = PROVIDER.ec.header();
    header[name] = value;
    if header[name].is_null() {
        header.as_object_mut().unwrap().remove(name);
    }
    header
}

fn read(token: &str) -> Result<Token, TokenFault> {
    verify(token, &PROVIDER.keys, &expected(Purpose::Access), NOW)
}

fn signed(header: &Value, claims: &Value) -> String {
    PROVIDER.ec.sign(&header.to_string(), &claims.to_string())
}

#[test]
fn good_tokens_of_every_algorithm_and_every_lawful_form_are_believed() {
    let provider = &*PROVIDER;
    for signer in [&provider.ec, &provider.ed, &provider.rsa] {
        assert_eq!(read(&signer.token(&claims())).unwrap().subject, "alice", "{}", signer.algorithm());
    }
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(read(&signed(&header("typ", json!(typ)), &claims())).is_ok(), "{typ}");
    }
    for (name, value) in [
        ("typ", Value::Null),
        // Whoever names no key is taken at the only one that fits.
        ("kid", Value::Null),
    ] {
        assert!(read(&signed(&header(name, value), &claims())).is_ok(), "{name}");
    }
    for (name, value) in [
        ("aud", json!(["other", "door"])),
        ("nbf", Value::Null),
        ("iat", Value::Null),
        ("nbf", json!(NOW + 60)),
        ("exp", json!(NOW - 60)),
        ("exp", json!(1_000_300.75)),
        ("typ", json!("Bearer")),
        ("sub", json!("a".repeat(255))),
        ("sub", json!("zoë")),
    ] {
        assert!(read(&provider.ec.token(&with(name, value.clone()))).is_ok(), "{name}: {value}");
    }
}

#[test]
fn a_token_holds_until_its_end_and_the_clocks_disagreement() {
    let token = PROVIDER.ec.token(&claims());
    let at = |now| verify(&token, &PROVIDER.keys, &expected(Purpose::Access), now);
    assert_eq!(at(NOW).unwrap().expires_at, NOW + 360);
    assert!(at(NOW + 360).is_ok());
    assert_eq!(at(NOW + 361).unwrap_err(), TokenFault::Expired);
    assert!(at(NOW - 70).is_ok());
    assert_eq!(at(NOW - 71).unwrap_err(), TokenFault::NotYetValid);
}

#[test]
fn an_edge_may_pass_on_an_id_token_and_name_a_service() {
    let edge =
        |claims: &Value| verify(&PROVIDER.ec.token(claims), &PROVIDER.keys, &expected(Purpose::Edge), NOW);
    assert!(edge(&with("typ", json!("ID"))).is_ok());
    let mut service = with("sub", json!(""));
    assert_eq!(edge(&service).unwrap_err(), TokenFault::Subject);
    service["common_name"] = json!("robot.access");
    assert_eq!(edge(&service).unwrap().subject, "robot.access");
    assert_eq!(
        read(&PROVIDER.ec.token(&service)).unwrap_err(),
        TokenFault::Subject,
        "an access token may not"
    );
}

/// Bad claims, well signed.
fn bad_claims() -> Vec<(String, Value, TokenFault)> {
    use TokenFault::{Audience, Bound, Claims, Expired, Issuer, NotYetValid, Subject, Type};
    let mut bad = Vec::new();
    let mut add = |name: &str, values: Vec<Value>, fault: TokenFault| {
        bad.extend(values.into_iter().map(|value| (format!("{name} is {value}"), with(name, value), fault)));
    };
    let no_texts = || vec![Value::Null, json!(7), json!(true), json!({}), json!([]), json!(["alice"])];
    add("iss", no_texts(), Issuer);
    add(
        "iss",
        [
            "",
            "https://idp.example.com/",
            "https://IDP.example.com",
            "http://idp.example.com",
            "https://idp.example.com.evil.com",
            "https://evil.com",
            " https://idp.example.com",
            "https://idp.example.com\0",
            "idp.example.com",
            "https://idp.example.com#x",
        ]
        .map(Value::from)
        .to_vec(),
        Issuer,
    );
    add(
        "iss",
        vec![
            json!(["https://idp.example.com", "https://evil.com"]),
            json!({ "0": "https://idp.example.com" }),
        ],
        Issuer,
    );
    add(
        "aud",
        vec![
            Value::Null,
            json!(7),
            json!(true),
            json!({}),
            json!({ "door": true }),
            json!({ "0": "door" }),
            json!([]),
            json!(["other"]),
            json!(["door", 7]),
            json!(["door", null]),
            json!([["door"]]),
            json!("other"),
            json!(""),
            json!("Door"),
            json!("door "),
            json!("door,other"),
            json!("door other"),
            json!("*"),
        ],
        Audience,
    );
    add(
        "sub",
        vec![Value::Null, json!(7), json!(true), json!({}), json!([]), json!(["alice"]), json!("")],
        Subject,
    );
    add("sub", vec![json!("a".repeat(256)), json!("ali\nce"), json!("ali\0ce"), json!("\u{7f}")], Subject);
    add(
        "exp",
        vec![json!(NOW - 61), json!(NOW - 3600), json!(0), json!(1), json!(NOW - 61).as_f64().into()],
        Expired,
    );
    add(
        "exp",
        vec![
            Value::Null,
            json!("soon"),
            json!((NOW + 300).to_string()),
            json!(true),
            json!({}),
            json!([]),
            json!([NOW + 300]),
            json!(-1),
            json!(-1e300),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(1e18),
        ],
        Claims,
    );
    add(
        "nbf",
        vec![
            json!(NOW + 61),
            json!(NOW + 61).as_f64().into(),
            json!(NOW + 86_400),
            json!(NOW + 60).as_f64().map(|it| it + 0.5).into(),
        ],
        NotYetValid,
    );
    add(
        "nbf",
        vec![
            json!("now"),
            json!(NOW.to_string()),
            json!(true),
            json!({}),
            json!([]),
            json!(-1),
            json!(1e300),
        ],
        Claims,
    );
    add("iat", vec![json!(NOW + 61), json!(NOW + 86_400)], NotYetValid);
    add("iat", vec![json!("now"), json!(true), json!({}), json!([]), json!(-5), json!(1e300)], Claims);
    add("typ", ["ID", "id", "Refresh", "Offline", "Logout"].map(Value::from).to_vec(), Type);
    add("cnf", vec![json!({ "x5t#S256": "AA" }), json!({ "jkt": "AA" }), json!({}), json!("x")], Bound);
    bad
}

/// Bad headers, well signed.
fn bad_headers() -> Vec<(String, Value, TokenFault)> {
    use TokenFault::{Algorithm, Header, Type, UnknownKey};
    let mut bad = Vec::new();
    let mut add = |name: &str, values: Vec<Value>, fault: TokenFault| {
        bad.extend(
            values.into_iter().map(|value| (format!("header {name} is {value}"), header(name, value), fault)),
        );
    };
    add(
        "alg",
        [
            "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "RS256", "RS384", "PS256",
            "ES384", "ES512", "ES256K", "EdDSA", "es256", "ES256 ", "RSA1_5", "dir", "A256KW",
        ]
        .map(Value::from)
        .to_vec(),
        Algorithm,
    );
    add("alg", vec![Value::Null, json!(7), json!(true), json!({}), json!(["ES256"])], Algorithm);
    add("jku", vec![json!("https://evil.com/jwks"), json!(""), json!({})], Header);
    add("x5u", vec![json!("https://evil.com/cert"), json!("")], Header);
    add("jwk", vec![PROVIDER.other.jwk(), PROVIDER.ec.jwk(), json!({})], Header);
    add("crit", vec![json!(["exp"]), json!(["b64"]), json!([]), json!("x")], Header);
    add("kid", vec![json!(7), json!(true), json!({}), json!(["ec"])], Header);
    add(
        "kid",
        ["", "x", "EC", "ec ", "../ec", "ec\0", "' OR 1=1", "file:///dev/null"].map(Value::from).to_vec(),
        UnknownKey,
    );
    add("kid", vec![json!("rsa"), json!("ed")], Algorithm);
    add(
        "typ",
        [
            "",
            "JWE",
            "logout+jwt",
            "dpop+jwt",
            "secevent+jwt",
            "entity-statement+jwt",
            "jwt ",
            "id_token",
            "at-jwt",
        ]
        .map(Value::from)
        .to_vec(),
        Type,
    );
    add("typ", vec![json!(7), json!(true), json!({}), json!(["JWT"])], Type);
    add("cty", vec![json!("JWT"), json!("")], Type);
    bad
}

/// Texts that are no token, or not what they were.
fn bad_texts() -> Vec<(String, String, TokenFault)> {
    use TokenFault::{Algorithm, Malformed, Signature, TooLong, UnknownKey};
    let provider = &*PROVIDER;
    let good = provider.ec.token(&claims());
    let [head, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut bad: Vec<(String, String, TokenFault)> = Vec::new();
    let mut add = |what: &str, text: String, fault| bad.push((what.to_owned(), text, fault));
    for text in ["", ".", "..", "...", "a", "a.b", "a.b.c", "null", "{}", "Bearer", "🦀.🦀.🦀", "é.é.é"]
    {
        add(&format!("the text {text:?}"), text.to_owned(), Malformed);
    }
    add("a part too few", format!("{head}.{payload}"), Malformed);
    add("a part too many", format!("{good}.x"), Malformed);
    add(
        "five parts, as an encrypted one",
        format!("{head}.{payload}.{payload}.{payload}.{signature}"),
        Malformed,
    );
    add("nothing for a header", format!(".{payload}.{signature}"), Malformed);
    add("nothing for claims", format!("{head}..{signature}"), Malformed);
    add("no signature", format!("{head}.{payload}."), Signature);
    add("white space before", format!(" {good}"), Malformed);
    add("white space in the middle", format!("{head} .{payload}.{signature}"), Malformed);
    add("white space after", format!("{good} "), Signature);
    add("a line break after", format!("{good}\n"), Signature);
    add("padding", format!("{head}=.{payload}.{signature}"), Malformed);
    add("padding of the signature", format!("{good}=="), Signature);
    add("the other base64", format!("{head}.{}+/.{signature}", &payload[..payload.len() - 2]), Malformed);
    for length in [good.len() - 1, good.len() - 10, head.len() + 1 + payload.len(), head.len() + 4, 10] {
        let fault = if length > head.len() + 1 + payload.len() { Signature } else { Malformed };
        add(&format!("cut off after {length}"), good[..length].to_owned(), fault);
    }
    add("longer than is read", format!("{good}{}", "a".repeat(LONGEST)), TooLong);
    let huge = with("x", json!("a".repeat(LONGEST)));
    add("well signed, and longer than is read", provider.ec.token(&huge), TooLong);
    add(
        "somebody else's signature",
        format!("{head}.{payload}.{}", provider.other.token(&claims()).rsplit('.').next().unwrap()),
        Signature,
    );
    add("an impostor's key of the same id", provider.impostor.token(&claims()), Signature);
    add("a key that nobody knows", provider.other.token(&claims()), UnknownKey);
    add("zeros for a signature", format!("{head}.{payload}.{}", encode(&[0; 64])), Signature);
    add(
        "a signature in DER",
        format!("{head}.{payload}.{}", encode(&[0x30, 6, 2, 1, 1, 2, 1, 1])),
        Signature,
    );
    let swapped = encode(with("sub", json!("mallory")).to_string().as_bytes());
    add("other claims under the signature", format!("{head}.{swapped}.{signature}"), Signature);
    let harmless = encode(header("typ", json!("JWT")).to_string().as_bytes());
    add("another header over the signature", format!("{harmless}.{payload}.{signature}"), Signature);
    for (what, header) in [("none", "none"), ("None", "None")] {
        let unsigned = encode(json!({ "alg": header }).to_string().as_bytes());
        add(
            &format!("{what} for an algorithm, and no signature"),
            format!("{unsigned}.{payload}."),
            Algorithm,
        );
    }
    // The public key as an HMAC secret: as JWK, as its point.
    let jwk = provider.ec.jwk();
    for secret in [jwk.to_string().into_bytes(), jwk["x"].as_str().unwrap().as_bytes().to_vec()] {
        let message = format!("{}.{payload}", encode(header("alg", json!("HS256")).to_string().as_bytes()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        add("the public key as a shared secret", format!("{message}.{}", encode(tag.as_ref())), Algorithm);
    }
    for (what, header, claims) in [
        ("a header that is a list", "[]".to_owned(), claims().to_string()),
        ("a header that is text", "\"x\"".to_owned(), claims().to_string()),
        ("a header that is no JSON", "{".to_owned(), claims().to_string()),
        ("claims that are a list", provider.ec.header().to_string(), "[]".to_owned()),
        ("claims that are null", provider.ec.header().to_string(), "null".to_owned()),
        ("claims that are no JSON", provider.ec.header().to_string(), "{\"sub\":".to_owned()),
        (
            "claims with more behind them",
            provider.ec.header().to_string(),
            format!("{}{}", claims(), claims()),
        ),
        ("claims of no Unicode", provider.ec.header().to_string(), "{\"sub\":\"\u{fffd}\"".to_owned()),
        (
            "an algorithm that stands twice",
            r#"{"alg":"ES256","kid":"ec","alg":"ES256"}"#.to_owned(),
            claims().to_string(),
        ),
        (
            "a key that stands twice",
            r#"{"alg":"ES256","kid":"x","kid":"ec"}"#.to_owned(),
            claims().to_string(),
        ),
    ] {
        add(what, provider.ec.sign(&header, &claims), Malformed);
    }
    for name in ["sub", "iss", "aud", "exp"] {
        let text = claims().to_string();
        let twice = format!("{},\"{name}\":{}}}", &text[..text.len() - 1], claims()[name]);
        add(&format!("{name} twice"), provider.ec.sign(&provider.ec.header().to_string(), &twice), Malformed);
        let escaped =
            format!("{},\"\\u{:04x}{}\":\"x\"}}", &text[..text.len() - 1], name.as_bytes()[0], &name[1..]);
        add(
            &format!("{name} twice, once escaped"),
            provider.ec.sign(&provider.ec.header().to_string(), &escaped),
            Malformed,
        );
    }
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(2000), "]".repeat(2000));
    add("claims that are too deep", provider.ec.sign(&provider.ec.header().to_string(), &deep), Malformed);
    bad
}

#[test]
fn bad_tokens_are_refused_each_for_its_own_reason() {
    let texts = bad_claims()
        .into_iter()
        .map(|(what, claims, fault)| (what, PROVIDER.ec.token(&claims), fault))
        .chain(
            bad_headers().into_iter().map(|(what, header, fault)| (what, signed(&header, &claims()), fault)),
        )
        .chain(bad_texts());
    let mut count = 0;
    for (what, token, fault) in texts {
        assert_eq!(read(&token).map(|token| token.subject), Err(fault), "{what}");
        count += 1;
    }
    assert!(count >= 150, "only {count} bad tokens are left in the table");
    assert!(read(&PROVIDER.ec.token(&claims())).is_ok(), "and the good one is good");
}

#[test]
fn no_cut_and_no_changed_letter_of_a_good_token_is_believed() {
    let good = PROVIDER.ec.token(&claims());
    for length in 0..good.len() {
        assert!(read(&good[..length]).is_err(), "cut after {length}");
    }
    for index in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(changed == good || read(&changed).is_err(), "changed at {index}");
    }
}

#[test]
fn the_table_s_provider_has_the_keys_that_it_says() {
    assert_eq!(PROVIDER.jwks["keys"].as_array().unwrap().len(), 3);
}
