//! Tunnels that are listened for without a terminal: those that `tunnel listen --detach` has started, and those of systemd.
//!
//! ```text
//! $XDG_STATE_HOME/portcullis/tunnels/     0700, all files 0600
//!   KEY.lock                              held for as long as the process lives
//!   KEY.json                              what it is
//!   KEY.log                               what it says
//! ```

mod detached;
mod unit;

pub(crate) use detached::{Process, Spot, running};
pub(crate) use unit::{Unit, text as unit_text};

/// What tells them apart, for files and units: the gateway's name, and the Tunnel's or else the endpoint.
pub(crate) fn key(gateway: &str, what: &str) -> String {
    let plain = |text: &str| {
        let text: String = text
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
            .collect();
        text.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    };
    format!("{}.{}", plain(gateway), plain(what))
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_key_is_a_file_s_name_and_tells_gateway_and_endpoint() {
        assert_eq!(key("shop", "http://localhost:3000"), "shop.http-localhost-3000");
        assert_eq!(key("../Evil", "http://[::1]:3000/../x"), "evil.http-1-3000-x");
    }
}
