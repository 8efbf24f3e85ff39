//! What the file of `connector --config` may say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_contract::endpoint::Endpoint;
use serde::Deserialize;

use super::connector::{Connector, LogFormat, tunnel};
use crate::gateways::Asked;

/// The file. Paths that are not absolute are below its folder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectorFile {
    gateway: Option<String>,
    server_name: Option<String>,
    credentials: Option<PathBuf>,
    token_file: Option<PathBuf>,
    #[serde(rename = "endpointCA")]
    endpoint_ca: Option<PathBuf>,
    websocket: bool,
    health_listen: Option<SocketAddr>,
    metrics_listen: Option<SocketAddr>,
    drain_seconds: Option<u64>,
    log_format: Option<LogFormat>,
    tunnels: Vec<Offered>,
}

/// A Tunnel of the file, and what may be forwarded to for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Offered {
    name: String,
    endpoints: Vec<String>,
}

/// A Tunnel's namespace and name, and what may be forwarded to for it.
pub type Offers = Vec<((String, String), Vec<Endpoint>)>;

impl ConnectorFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        serde_norway::from_str(text).map_err(|error| error.to_string())
    }

    /// The gateway that it names.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn gateway(&self) -> Result<Option<Asked>, String> {
        let read = |text: &String| text.parse().map_err(|error| format!("gateway {text}: {error}"));
        self.gateway.as_ref().map(read).transpose()
    }

    /// What flags and environment leave open, from this file; and the Tunnels.
    ///
    /// # Errors
    /// What is wrong or missing, in words.
    pub fn complete(self, given: &Connector, folder: &Path) -> Result<(Connector, Offers), String> {
        let given = given.clone();
        let below = |path: PathBuf| folder.join(path);
        let offers = match &given.tunnel {
            Some(_) if given.endpoints.is_empty() => {
                return Err("write what may be forwarded to: --endpoint URL".to_owned());
            }
            Some(named) => vec![(named.clone(), given.endpoints.clone())],
            None => self.tunnels.iter().map(Offered::read).collect::<Result<_, _>>()?,
        };
        if offers.is_empty() {
            return Err(
                "no Tunnel is named: write NAMESPACE/NAME and --endpoint, or `tunnels` in the file of --config"
                    .to_owned(),
            );
        }
        let completed = Connector {
            server_name: given.server_name.or(self.server_name),
            credentials: given.credentials.or_else(|| self.credentials.map(below)),
            token_file: given.token_file.or_else(|| self.token_file.map(below)),
            endpoint_ca: given.endpoint_ca.or_else(|| self.endpoint_ca.map(below)),
            websocket: given.websocket || self.websocket,
            health_listen: given.health_listen.or(self.health_listen),
            metrics_listen: given.metrics_listen.or(self.metrics_listen),
            drain: given.drain.or_else(|| self.drain_seconds.map(Duration::from_secs)),
            log_format: given.log_format.or(self.log_format),
            ..given
        };
        Ok((completed, offers))
    }
}

impl Offered {
    fn read(&self) -> Result<((String, String), Vec<Endpoint>), String> {
        let named = |reason: String| format!("tunnel {}: {reason}", self.name);
        let name = tunnel(&self.name).map_err(named)?;
        let endpoints = self.endpoints.iter().map(|text| {
            text.parse::<Endpoint>().map_err(|reason| named(format!("endpoint {text}: {reason}")))
        });
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(named("write what may be forwarded to in `endpoints`".to_owned()));
        }
        Ok((name, endpoints))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    const FILE: &str = "
gateway: https://door.example.com
credentials: bundle
metricsListen: 127.0.0.1:9090
drainSeconds: 7
logFormat: json
tunnels:
- {name: shop/web, endpoints: ['http://localhost:8080']}
- {name: shop/api, endpoints: ['h2c://localhost:50051', 'h2c://localhost:50052']}
";

    fn given(arguments: &[&str]) -> Connector {
        let all = ["portcullis", "connector"].iter().chain(arguments);
        let Command::Connector(given) = Options::parse_from(all).command else { panic!("another command") };
        given
    }

    fn complete(file: &str, arguments: &[&str]) -> Result<(Connector, Offers), String> {
        ConnectorFile::read(file)?.complete(&given(arguments), Path::new("/etc/connector"))
    }

    #[test]
    fn a_file_says_what_flags_leave_open_and_paths_are_below_its_folder() {
        let (connector, offers) = complete(FILE, &["--drain", "9", "--credentials", "/else"]).unwrap();
        assert_eq!(connector.credentials.unwrap(), Path::new("/else"));
        assert_eq!(
            (connector.drain, connector.log_format),
            (Some(Duration::from_secs(9)), Some(LogFormat::Json))
        );
        assert_eq!(connector.metrics_listen.unwrap().port(), 9090);
        let names: Vec<_> =
            offers.iter().map(|((_, name), endpoints)| (name.as_str(), endpoints.len())).collect();
        assert_eq!(names, [("web", 1), ("api", 2)]);
        let (connector, _) = complete(FILE, &[]).unwrap();
        assert_eq!(connector.credentials.unwrap(), Path::new("/etc/connector/bundle"));
        assert_eq!(
            ConnectorFile::read(FILE).unwrap().gateway(),
            Ok(Some("https://door.example.com".parse().unwrap()))
        );
    }

    #[test]
    fn the_tunnel_of_the_command_line_is_the_only_one() {
        let (_, offers) = complete(FILE, &["shop/other", "--endpoint", "http://localhost:1"]).unwrap();
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].0, ("shop".to_owned(), "other".to_owned()));
        assert!(complete(FILE, &["shop/other"]).unwrap_err().contains("--endpoint"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        for (file, said) in [
            ("{}", "no Tunnel is named"),
            ("{tunnel: shop/web}", "unknown field `tunnel`"),
            ("{tunnels: [{name: web, endpoints: ['http://a']}]}", "tunnel web: write NAMESPACE/NAME"),
            ("{tunnels: [{name: shop/web, endpoints: ['ftp://a']}]}", "tunnel shop/web: endpoint ftp://a"),
            ("{tunnels: [{name: shop/web, endpoints: []}]}", "`endpoints`"),
        ] {
            let error = complete(file, &[]).unwrap_err();
            assert!(error.contains(said), "{file}: {error}");
        }
        let file = ConnectorFile::read("gateway: ftp://door").unwrap();
        assert!(file.gateway().unwrap_err().contains("https://HOST"));
    }
}
