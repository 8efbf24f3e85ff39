//! Arguments of `revoke`.

use clap::Args;

use super::gateway::object;

/// Which certificates count no more.
#[derive(Clone, Debug, Args)]
pub struct Revoke {
    /// The Gateway, in the kubeconfig's cluster.
    // `--gateway` is something else, and an argument's name is its field's.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = object)]
    pub object: (Option<String>, String),

    /// The client, as the Gateway's spec.clients names it.
    #[arg(value_name = "CLIENT")]
    pub client: String,

    /// Only the certificate with this serial, as status.clients or `openssl x509 -serial` has it. Without it, all that the
    /// client has.
    #[arg(long = "serial", value_name = "HEX", value_parser = serial)]
    pub serials: Vec<String>,

    /// Do not wait until every replica has cut what they had opened.
    #[arg(long)]
    pub no_wait: bool,
}

/// A serial, as a Gateway's status has it.
fn serial(text: &str) -> Result<String, String> {
    let digits = text.trim().trim_start_matches("serial=").replace(':', "").to_ascii_lowercase();
    let fits = (1..=40).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    if fits { Ok(digits) } else { Err("a serial is up to 40 hexadecimal digits".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_of_a_cluster_is_no_gateway_that_is_known_here() {
        use crate::options::{Command, Options};
        use clap::Parser as _;
        let arguments = ["portcullis", "revoke", "shop/door", "alice", "--gateway", "known"];
        let Command::Revoke(revoke) = Options::try_parse_from(arguments).unwrap().command else { panic!() };
        assert_eq!(revoke.object, (Some("shop".to_owned()), "door".to_owned()));
    }

    #[test]
    fn a_serial_is_taken_as_openssl_writes_it() {
        for text in ["4f1c0a9b", "4F1C0A9B", "4F:1C:0A:9B", "serial=4F1C0A9B"] {
            assert_eq!(serial(text).as_deref(), Ok("4f1c0a9b"), "{text}");
        }
        for text in ["", "4g", "0x4f", &"4".repeat(41)] {
            assert!(serial(text).is_err(), "{text}");
        }
    }
}
