//! What TLS is spoken: versions and ciphers, of those that rustls has by aws-lc-rs. Keys are agreed on by X25519MLKEM768
//! wherever the caller has it.

use std::sync::Arc;

use portcullis_contract::snapshot::TlsPolicy;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, SupportedProtocolVersion, version};

/// What a policy leaves of all that there is.
pub(super) fn provider(policy: TlsPolicy) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if policy.strict_ciphers {
        provider.cipher_suites.retain(|suite| !is_of_128_bits(suite.suite()));
    }
    Arc::new(provider)
}

/// The versions that it leaves.
pub(super) fn versions(policy: TlsPolicy) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = vec![&version::TLS13];
    if !policy.only_1_3 {
        versions.push(&version::TLS12);
    }
    versions
}

fn is_of_128_bits(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_policy_leaves_ciphers_with_keys_of_256_bits_for_both_versions() {
        let all = provider(TlsPolicy::default()).cipher_suites.len();
        let strict = provider(TlsPolicy { strict_ciphers: true, ..TlsPolicy::default() });
        assert_eq!(strict.cipher_suites.len(), all - 3);
        for suite in &strict.cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.contains("AES_256_GCM") || name.contains("CHACHA20"), "{name}");
        }
        let of = |version| strict.cipher_suites.iter().filter(|it| it.version().version == version).count();
        assert_eq!((of(rustls::ProtocolVersion::TLSv1_3), of(rustls::ProtocolVersion::TLSv1_2)), (2, 4));
    }

    #[test]
    fn the_first_way_to_agree_on_keys_holds_against_quantum_computers() {
        for strict_ciphers in [false, true] {
            let provider = provider(TlsPolicy { strict_ciphers, ..TlsPolicy::default() });
            assert_eq!(provider.kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
            assert!(provider.kx_groups.len() > 1, "whoever has it not comes in too");
        }
    }
}
