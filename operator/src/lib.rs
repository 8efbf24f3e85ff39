//! The Portcullis operator. See ARCHITECTURE.md for the map; `main.rs` only reads options and calls [`run`].

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use portcullis_pki::{Mint, RandomMint};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod cause;
pub mod children;
pub mod clock;
pub mod context;
pub mod control;
pub mod gateway;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod moment;
pub mod names;
pub mod options;
pub mod queue;
pub mod settings;
pub mod tunnel;
pub mod workers;
pub mod world;
pub mod writer;

use clock::Clock;
use context::Context;
use options::Options;

/// Runs the operator until stopped; whatever it began is ended and the lease given back.
///
/// # Errors
/// Where a port cannot be had, or the control channel cannot be served.
pub async fn run(
    client: Client,
    options: Options,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let http = bind("--http-listen", options.http_listen).await?;
    let channel = bind("--control-listen", options.control_listen).await?;
    let endpoint = options.control_endpoint();
    let (host, _) = endpoint.rsplit_once(':').with_context(|| {
        format!("--control-endpoint is {endpoint:?}: write HOST:PORT, such as portcullis-operator.portcullis-system.svc:9443")
    })?;

    let tasks = TaskTracker::new();
    let leadership = lease::Leadership::new(&options.identity);
    let metrics = Arc::<metrics::Metrics>::default();
    let mint: Arc<dyn Mint> = Arc::new(RandomMint);
    let ctx = Arc::new(Context {
        client: client.clone(),
        writer: writer::Writer::new(client.clone(), leadership.clone(), metrics.clone()),
        leadership: leadership.clone(),
        world: Arc::default(),
        queue: Arc::default(),
        tunnels: Arc::default(),
        claims: tunnel::claims::Decided::default(),
        control: Arc::default(),
        renewals: control::renewals::Renewals::default(),
        settings: settings::Settings {
            gateway_image: options.gateway_image.clone(),
            connector_image: options.connector_image.clone(),
            control_endpoint: format!("https://{endpoint}"),
            trust_domain: options.trust_domain.clone(),
            cluster_domain: options.cluster_domain.clone(),
            traces: options.traces(),
        },
        clock: clock.clone(),
        mint: mint.clone(),
        metrics,
        backoff: context::Backoff::default(),
        tunnel_backoff: context::Backoff::default(),
        planning: tokio::sync::Semaphore::new(1),
    });

    let watches =
        world::watch::Watches::new(client.clone(), ctx.world.clone(), ctx.queue.clone(), ctx.tunnels.clone());
    let (progress, pods) = (watches.progress(), watches.pods());
    tasks.spawn(http::serve(
        http,
        http::Pages { context: ctx.clone(), progress: progress.clone() },
        stop.clone(),
    ));
    watches.start(&options.watch_namespaces, &tasks, &stop);
    let address = options.control_address();
    let election =
        lease::Election::new(client.clone(), &options.namespace, leadership.clone(), address, clock.clone());
    // It outlives the workers: what they still write needs the lease.
    let election_stop = CancellationToken::new();
    let election = tokio::spawn(election.run(election_stop.clone()));

    let source = control::authority::Source {
        client: &client,
        writer: &ctx.writer,
        namespace: &options.namespace,
        host,
        clock: clock.as_ref(),
        mint: mint.as_ref(),
    };
    let served = match stop.run_until_cancelled(source.obtain()).await {
        Some(authority) => {
            ctx.control.set_authority(authority.clone());
            workers::start(&ctx, &leadership, &progress, options.workers, &tasks, &stop);
            let tls = control::server::Tls::new(authority, host.to_owned(), clock, mint);
            let service = control::service::ControlService {
                control: ctx.control.clone(),
                world: ctx.world.clone(),
                queue: ctx.queue.clone(),
                tunnels: ctx.tunnels.clone(),
                desk: control::calls::Desk {
                    ctx: ctx.clone(),
                    progress,
                    namespaces: options.watch_namespaces.into(),
                    tasks: tasks.clone(),
                    stop: stop.clone(),
                },
                pods,
                leadership,
                trust_domain: options.trust_domain,
                tasks: tasks.clone(),
                stop: stop.clone(),
            };
            control::server::serve(channel, tls, service, stop.clone()).await
        }
        None => Ok(()),
    };
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    election_stop.cancel();
    election.await?;
    Ok(served?)
}

async fn bind(flag: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        // No IPv6 on this machine.
        Err(error) if address.ip() == std::net::Ipv6Addr::UNSPECIFIED => {
            let fallback = (std::net::Ipv4Addr::UNSPECIFIED, address.port());
            TcpListener::bind(fallback)
                .await
                .map_err(|_| error)
                .with_context(|| format!("failed to listen on {flag} {address}"))
        }
        Err(error) => Err(error).with_context(|| format!("failed to listen on {flag} {address}")),
    }
}
