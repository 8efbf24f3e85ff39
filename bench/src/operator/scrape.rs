//! Reads `/metrics`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What `/metrics` said.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Asks once; None where nobody listens.
    pub async fn of(address: SocketAddr) -> Result<Option<Self>> {
        let asked = timeout(Duration::from_secs(30), ask(address)).await;
        match asked.context("no answer within 30 s")? {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(None),
            answer => answer.map(Some).context("failed to read metrics"),
        }
    }

    /// The sum of a metric over all its labels; 0 where it is not there.
    pub fn sum(&self, name: &str) -> f64 {
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        values.fold(0.0, std::ops::Add::add)
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<Metrics> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(Metrics(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_mixed_up_with_a_longer_name() {
        let metrics = Metrics(
            "writes_total{kind=\"a\"} 2\nwrites_total{kind=\"b\"} 3\nwrites_total_x 9\ndepth 7\n".to_owned(),
        );
        let sums = (metrics.sum("writes_total"), metrics.sum("depth"), metrics.sum("none"));
        assert_eq!(sums, (5.0, 7.0, 0.0));
    }
}
