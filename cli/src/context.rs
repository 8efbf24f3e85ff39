//! What every command works with: the store, the voice, and the gateway that is meant. Nothing is read or connected before
//! it is asked for.

use std::env;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::accounts::Renewing;
use crate::channel::{Access, Anonymous, Channel, TokenSource};
use crate::failure::{Exit, Failure};
use crate::gateways::{Asked, Given, Known, Resolved, certificate, resolve};
use crate::options::{Kube, Target};
use crate::renewal;
use crate::say::Say;
use crate::store::{Bundle, Store};
use portcullis_protocol::clock;

/// What every command works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// How everything is printed.
    pub say: Say,
    /// The configuration directory.
    pub store: Store,
    /// Which cluster.
    pub kube: Kube,
    /// Renewals of tokens that are under way: the command ends when they have.
    pub renewals: TaskTracker,
    target: Target,
}

impl Context {
    /// As the command line and the environment say.
    pub fn new(target: Target, kube: Kube, say: Say) -> Self {
        Self { say, store: Store::from_environment(), kube, renewals: TaskTracker::new(), target }
    }

    /// The gateway that the command means.
    ///
    /// # Errors
    /// Where that is none.
    pub fn gateway(&self) -> Result<Resolved, Failure> {
        let given = Given {
            endpoint: self.target.gateway_endpoint.clone(),
            gateway: self.target.gateway.clone(),
            environment: env::var("PORTCULLIS_GATEWAY").ok(),
        };
        let resolved = resolve(&given, &Known::read(&self.store)?)?;
        self.say.detail(format!("gateway {} (from {})", resolved.place(), resolved.rule));
        Ok(resolved)
    }

    /// Whether the command line itself says which gateway.
    pub fn is_gateway_given(&self) -> bool {
        self.target.gateway.is_some() || self.target.gateway_endpoint.is_some()
    }

    /// The same, where the command line and the environment mean this gateway.
    #[must_use]
    pub fn meaning(&self, gateway: Asked) -> Self {
        let target = Target { gateway: Some(gateway), ..self.target.clone() };
        Self { target, ..self.clone() }
    }

    /// Whether any certificate of a server is believed.
    pub fn is_insecure(&self) -> bool {
        self.target.insecure_skip_tls_verify
    }

    /// What is shown to a gateway: what is stored for it.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn access(&self, gateway: &Resolved) -> Result<Access, Failure> {
        let access = self.quiet_access(gateway)?;
        self.warn_of_end(gateway, &access);
        Ok(access)
    }

    /// The same, without a word on when it ends.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn quiet_access(&self, gateway: &Resolved) -> Result<Access, Failure> {
        let (bundle, tokens): (_, Arc<dyn TokenSource>) = match &gateway.stored {
            Some((place, name)) => (
                self.store.bundle(*place, name)?.unwrap_or_default(),
                Arc::new(Renewing::new(self, *place, name, &gateway.metadata)?),
            ),
            None => (Bundle::default(), Arc::new(Anonymous)),
        };
        let kept = gateway.stored.clone().map(|(place, name)| (self.store.clone(), place, name));
        Ok(Access { kept, ..self.shown_with(gateway, bundle, tokens) })
    }

    fn warn_of_end(&self, gateway: &Resolved, access: &Access) {
        let end = access.bundle.identity.as_ref().and_then(|(chain, _)| certificate::ends(chain));
        if let Some(warning) = end.and_then(|end| certificate::warning(&gateway.title(), end, clock::now())) {
            self.say.warn(warning);
        }
    }

    /// The same, with what is not stored yet.
    pub fn shown_with(&self, gateway: &Resolved, bundle: Bundle, tokens: Arc<dyn TokenSource>) -> Access {
        if self.is_insecure() {
            self.say.warn(format!(
                "whoever answers at {} is believed to be the gateway: its certificate is not looked at",
                gateway.endpoint
            ));
        }
        Access::new(bundle, tokens, self.is_insecure(), self.say.timeout())
    }

    /// A connection to a gateway, with what is stored for it.
    ///
    /// # Errors
    /// Where nothing answers, or nothing that can be believed.
    pub async fn channel(&self, gateway: &Resolved) -> Result<Channel, Failure> {
        let access = self.quiet_access(gateway)?;
        let opened = Channel::open(gateway, &access).await;
        let kept = match &opened {
            Ok(channel) => renewal::keep(self, gateway, &access, channel).await,
            Err(_) => false,
        };
        if !kept {
            self.warn_of_end(gateway, &access);
        }
        opened
    }

    /// Renews what is stored for a gateway that was reached with it, where that is due; warns of its end where it is not.
    pub async fn keep(&self, gateway: &Resolved, access: &Access) {
        let kept = match renewal::wanted(self, gateway, access) {
            Some(_) => match Channel::open(gateway, access).await {
                Ok(channel) => renewal::keep(self, gateway, access, &channel).await,
                Err(_) => false,
            },
            None => false,
        };
        if !kept {
            self.warn_of_end(gateway, access);
        }
    }

    /// The same as [`Context::wait`], until somebody presses Ctrl-C: then nothing more is done, and what a step showed is gone.
    ///
    /// # Errors
    /// What it comes to, or that it was interrupted.
    pub fn until_interrupted<T>(&self, what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.wait(async {
            tokio::select! {
                // First, so that it is heard from the beginning. Where it cannot be, it ends the program at once, as ever.
                biased;
                Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted")),
                outcome = what => outcome,
            }
        })
    }

    /// Runs what waits for the network. Commands that do not wait never start a runtime.
    ///
    /// # Errors
    /// What it comes to.
    pub fn wait<T>(&self, what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        // Whoever came first has installed the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
        let outcome = runtime.block_on(async {
            let outcome = what.await;
            self.renewals.close();
            // Each of them has deadlines of its own.
            self.renewals.wait().await;
            self.renewals.reopen();
            outcome
        });
        // A name that is still looked up holds up nobody.
        runtime.shutdown_background();
        outcome
    }
}
