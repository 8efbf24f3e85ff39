//! What strict verifiers that are not ours say of our certificates: OpenSSL, Python's
//! `cryptography`, Go, and the linter `pkilint`.

#![expect(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod certificates;
mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_pki::{KeyAlgorithm, Usage};
use tempfile::TempDir;

use crate::certificates::{CLIENT, Case, Certificates, GATEWAY, NOW, WILDCARD};
use crate::python::python;

#[test]
fn openssl_in_strict_mode_accepts_our_certificates_and_refuses_names_beyond_the_constraints() {
    judge(&Certificates::issue(), "verification failed", |case, name| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-check_ss_sig", "-no-CAfile", "-no-CApath", "-attime"]);
        command.arg(epoch()).arg("-CAfile").arg(&case.root).arg("-purpose");
        match (case.usage, name.parse::<std::net::IpAddr>()) {
            (Usage::Client, _) => command.arg("sslclient"),
            (Usage::Server, Ok(_)) => command.args(["sslserver", "-verify_ip", name]),
            (Usage::Server, Err(_)) => command.args(["sslserver", "-verify_hostname", name]),
        };
        command.arg(&case.leaf);
        command
    });
}

#[test]
fn python_accepts_our_certificates_and_refuses_names_beyond_the_constraints() {
    let mut certificates = Certificates::issue();
    // That verifier goes by what public authorities may sign with, which Ed25519 is not.
    certificates.cases.retain(|case| case.what != KeyAlgorithm::Ed25519.as_str());
    judge(&certificates, "VerificationError", |case, name| {
        let mut command = python();
        command.arg(beside("verify.py")).arg(&case.root).arg(&case.leaf);
        command.args([&epoch(), side(case.usage), name]);
        command
    });
}

#[test]
fn go_accepts_our_certificates_and_refuses_names_beyond_the_constraints() {
    let folder = TempDir::new().unwrap();
    let verifier = folder.path().join("verify");
    let mut build = Command::new("go");
    build.env("GO111MODULE", "off").arg("build").arg("-o").arg(&verifier).arg(beside("verify.go"));
    let (done, said) = run(&mut build);
    assert!(done, "{said}");
    judge(&Certificates::issue(), "x509: ", |case, name| {
        let mut command = Command::new(&verifier);
        command.arg(&case.root).arg(&case.leaf).args([&epoch(), side(case.usage), name]);
        command
    });
}

#[test]
fn pkilint_finds_no_error_in_any_certificate() {
    let certificates = Certificates::issue();
    let good = certificates.cases.iter().filter(|case| case.good).map(|case| &case.leaf);
    for path in certificates.roots.iter().chain(good) {
        assert_eq!(errors_by_pkilint(path), Vec::<String>::new(), "{}", fs::read_to_string(path).unwrap());
    }
}

#[test]
fn pkilint_does_find_the_errors_of_a_careless_certificate() {
    let certificates = Certificates::issue();
    let careless = rcgen::generate_simple_self_signed(vec!["two words".to_owned()]).unwrap();
    let careless = certificates.write(&careless.cert.pem());
    assert_eq!(
        errors_by_pkilint(&careless),
        [
            "pkix.authority_key_identifier_extension_absent (ERROR)",
            r#"pkix.invalid_domain_name_syntax (ERROR): Invalid domain name syntax: "two words""#,
        ]
    );
}

/// The findings of severity ERROR and above, but for those that say less of the certificate than of
/// the linter: it wants a dot in every DNS name, where RFC 1034 (3.5) does not and people do use
/// `localhost`; it knows no wildcards, which RFC 5280 leaves to RFC 9525 (6.3); and of all URI schemes
/// it knows those of web pages alone, not SPIFFE's.
fn errors_by_pkilint(certificate: &Path) -> Vec<String> {
    let (_, said) =
        run(python().args(["-m", "pkilint.bin.lint_pkix_cert", "lint", "-s", "ERROR"]).arg(certificate));
    let dns =
        |name| format!(r#"pkix.invalid_domain_name_syntax (ERROR): Invalid domain name syntax: "{name}""#);
    let uri = |name| format!(r#"pkix.invalid_uri_syntax (ERROR): Invalid URI syntax: "{name}""#);
    let no_errors = [dns("localhost"), dns(WILDCARD), uri(GATEWAY), uri(CLIENT)];
    let findings = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(" @ "));
    findings.map(str::to_owned).filter(|line| !no_errors.contains(line)).collect()
}

/// Every good leaf is accepted for each of its names, every bad one refused with `complaint`.
fn judge(certificates: &Certificates, complaint: &str, verify: impl Fn(&Case, &str) -> Command) {
    for case in &certificates.cases {
        for name in &case.names {
            let (accepted, said) = run(&mut verify(case, name));
            assert_eq!(accepted, case.good, "{} as {name}: {said}", case.what);
            assert!(accepted || said.contains(complaint), "{} as {name}, another reason: {said}", case.what);
        }
    }
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("failed to run {command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn side(usage: Usage) -> &'static str {
    match usage {
        Usage::Server => "server",
        Usage::Client => "client",
    }
}

fn epoch() -> String {
    NOW.unix_timestamp().to_string()
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strict_verifiers").join(name)
}
