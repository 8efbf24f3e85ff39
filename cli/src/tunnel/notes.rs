//! What a person should know of how visitors will fare. Pure.

use super::visit::{Broke, Certificate, Door, Visited};

/// What a gateway answers by itself where a tunnel carries nothing. A service may answer so too, and then a little time is
/// lost.
pub(super) fn is_gateways(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 421 | 502 | 503 | 504)
}

/// What a person should know of how visitors will fare.
pub(super) fn notes(door: &Door, visited: &Result<Visited, Broke>) -> Vec<String> {
    let name = door.url.host().unwrap_or_default();
    let visited = match visited {
        Ok(visited) => visited,
        Err(broke) => {
            return vec![format!("from here it is not reached, at the hop {}: {broke}", broke.hop.word())];
        }
    };
    let mut notes = Vec::new();
    if !visited.resolves {
        notes.push(format!(
            "{name} does not resolve here: visitors need a DNS record of it that leads to the gateway ({})",
            visited.address.ip()
        ));
    }
    if visited.certificate == Certificate::Own {
        notes.push(format!(
            "the certificate of {name} is of the gateway's own authority: visitors need its ca.crt, or the Gateway a spec.tunnels.certificateRef"
        ));
    }
    match visited.status.map(|status| status.as_u16()) {
        Some(401 | 403) => {
            notes.push("visitors have to say who they are; `--public` would open it to everybody".to_owned());
        }
        Some(status) if is_gateways(visited.status.unwrap_or_default()) => {
            notes.push(format!("a visit from here was answered with {status}"));
        }
        _ => {}
    }
    notes
}
