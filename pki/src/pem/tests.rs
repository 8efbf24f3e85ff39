use std::sync::LazyLock;

use proptest::prelude::*;

use crate::examples::{NOW, authority, client, issue};
use crate::{Authority, RandomMint, Unusable, issue_leaf, read_authority, read_leaf};

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

#[test]
fn swapped_certificate_and_key_are_told_apart() {
    let leaf = issue(&authority(), &client());
    assert_eq!(
        read_leaf(leaf.key.expose(), &leaf.certificate_pem),
        Err(Unusable::WrongBlock { part: CERTIFICATE, label: "PRIVATE KEY".to_owned() })
    );
    assert_eq!(
        read_leaf(&leaf.certificate_pem, &leaf.certificate_pem),
        Err(Unusable::WrongBlock { part: KEY, label: "CERTIFICATE".to_owned() })
    );
}

#[test]
fn the_key_of_another_certificate_is_found_out() {
    let authority = authority();
    let [one, other] = [issue(&authority, &client()), issue(&authority, &client())];
    assert_eq!(read_leaf(&one.certificate_pem, other.key.expose()), Err(Unusable::KeyMismatch));
    assert_eq!(
        read_authority(1, &authority.certificate_pem, one.key.expose()).unwrap_err(),
        Unusable::KeyMismatch
    );
}

#[test]
fn what_is_empty_or_no_pem_at_all_is_named() {
    let leaf = issue(&authority(), &client());
    assert_eq!(read_leaf(" \n", leaf.key.expose()), Err(Unusable::Empty { part: CERTIFICATE }));
    assert_eq!(read_leaf(&leaf.certificate_pem, ""), Err(Unusable::Empty { part: KEY }));
    assert_eq!(
        read_leaf("hello", leaf.key.expose()).unwrap_err().to_string(),
        "the certificate cannot be read: missing header"
    );
    assert_eq!(
        read_leaf(&leaf.certificate_pem, "hello").unwrap_err().to_string(),
        "the private key cannot be read: missing header"
    );
}

#[test]
fn a_whole_block_around_half_a_certificate_or_key_is_truncated() {
    let leaf = issue(&authority(), &client());
    let halve = |pem: &str| {
        let mut lines: Vec<&str> = pem.lines().collect();
        lines.remove(2);
        lines.join("\n")
    };
    assert_eq!(
        read_leaf(&halve(&leaf.certificate_pem), leaf.key.expose()),
        Err(Unusable::Truncated { part: CERTIFICATE })
    );
    assert_eq!(
        read_leaf(&leaf.certificate_pem, &halve(leaf.key.expose())),
        Err(Unusable::Truncated { part: KEY })
    );
}

#[test]
fn a_second_certificate_and_windows_line_ends_do_no_harm() {
    let authority = authority();
    let leaf = issue(&authority, &client());
    let chain = format!("{}{}", leaf.certificate_pem, authority.certificate_pem).replace('\n', "\r\n");
    assert_eq!(read_leaf(&chain, &leaf.key.expose().replace('\n', "\r\n")), Ok(leaf.facts));
}

#[test]
fn no_message_about_a_key_repeats_any_of_it() {
    let leaf = issue(&authority(), &client());
    let key = leaf.key.expose().replace("MI", "!!");
    let refused = read_leaf(&leaf.certificate_pem, &key).unwrap_err();
    assert_eq!(refused.to_string(), "the private key cannot be read: base64 decode error");
}

#[test]
fn a_certificate_cut_anywhere_before_its_last_line_is_truncated() {
    let authority = authority();
    let (pem, key) = (&authority.certificate_pem, authority.key.expose());
    let first_line = pem.find('\n').unwrap() + 1;
    let last_line = pem.find("-----END").unwrap();
    for cut in 0..pem.len() - 1 {
        let read = read_authority(1, &pem[..cut], key).map(|read| read.facts);
        match cut {
            0 => assert_eq!(read, Err(Unusable::Empty { part: CERTIFICATE })),
            _ if cut < first_line => assert!(matches!(
                read,
                Err(Unusable::Certificate { .. } | Unusable::WrongBlock { .. } | Unusable::Truncated { .. })
            )),
            // The parser is content with the beginning of the end.
            _ if cut >= last_line + "-----END ".len() => assert_eq!(read, Ok(authority.facts.clone())),
            _ => assert_eq!(read, Err(Unusable::Truncated { part: CERTIFICATE }), "cut at {cut}"),
        }
    }
}

/// Found by the property below: the signer panics on such a subject.
#[test]
fn an_authority_whose_subject_has_an_impossible_type_is_refused() {
    let authority = authority();
    let mut der = super::certificate_der(&authority.certificate_pem).unwrap();
    // The object identifier of a common name becomes 3.0.4.3.
    let common_name = [0x06, 0x03, 0x55, 0x04, 0x03];
    let subject = der.windows(5).rposition(|bytes| bytes == common_name).unwrap();
    der[subject + 2] = 0x78;
    assert_eq!(
        read_authority(1, &block("CERTIFICATE", &der), authority.key.expose()).unwrap_err().to_string(),
        "the certificate cannot be read: its subject has a part of several values, or of no valid type"
    );
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(certificate in any::<String>(), key in any::<String>()) {
        prop_assert!(read_leaf(&certificate, &key).is_err());
        prop_assert!(read_authority(1, &certificate, &key).is_err());
    }

    #[test]
    fn garbage_in_a_whole_block_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_leaf(&block("CERTIFICATE", &bytes), &block("PRIVATE KEY", &bytes)).is_err());
    }

    #[test]
    fn an_authority_with_one_byte_changed_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        static EXAMPLE: LazyLock<Authority> = LazyLock::new(authority);
        let authority = &*EXAMPLE;
        let mut der = super::certificate_der(&authority.certificate_pem).unwrap();
        let at = at.index(der.len());
        der[at] = to;
        let pem = block("CERTIFICATE", &der);
        if let Ok(read) = read_authority(1, &pem, authority.key.expose()) {
            let _ = issue_leaf(&read, &client(), NOW, &RandomMint);
        }
    }
}

fn block(label: &str, bytes: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
