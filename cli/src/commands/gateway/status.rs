//! `gateway status`: reachable is one thing, known to it another.

use std::time::Instant;

use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::gateways::{Discovered, Verified, certificate, discover, verify};

/// What came of trying it, for programs.
#[derive(Default, Serialize)]
struct Status {
    name: Option<String>,
    endpoint: String,
    reachable: bool,
    /// Milliseconds to an answer, with a connection of its own.
    answered_ms: Option<u128>,
    authenticated: bool,
    reason: Option<String>,
    user: Option<String>,
    roles: Vec<String>,
    proof: Option<String>,
    scopes: Option<Vec<String>>,
    expires_at: Option<String>,
    gateway: Option<String>,
    version: Option<String>,
    mode: Option<String>,
    replica: Option<String>,
    allowed: Vec<String>,
}

pub(super) fn act(context: &Context) -> Result<(), Failure> {
    let gateway = context.gateway()?;
    let access = context.quiet_access(&gateway)?;
    let mut status = Status {
        name: gateway.name().map(ToString::to_string),
        endpoint: gateway.url(),
        ..Status::default()
    };
    let step = context.say.step(format!("trying {}", status.endpoint));
    let outcome = context.until_interrupted(async {
        let began = Instant::now();
        let reached = discover(&gateway, &access).await;
        status.answered_ms = Some(began.elapsed().as_millis());
        match reached {
            // A certificate that is not accepted was looked at by somebody.
            Err(failure) if failure.exit != Exit::Denied => return Ok(Err(failure)),
            Ok(Discovered::CertificateRequired(message)) => {
                status.reachable = true;
                return Ok(Err(Failure::new(Exit::Denied, message).hint(
                    "add the gateway again with its bundle: --bundle FOLDER, or --from-kube NAMESPACE/NAME",
                )));
            }
            _ => status.reachable = true,
        }
        let verified = verify(&gateway, &access).await;
        context.keep(&gateway, &access).await;
        Ok(verified)
    })?;
    drop(step);
    if !status.reachable {
        status.answered_ms = None;
    }
    let failure = match outcome {
        Ok(verified) => {
            status.fill(verified);
            None
        }
        Err(failure) => {
            status.reason = Some(failure.message.clone());
            Some(failure)
        }
    };
    context.say.one(&gateway.title(), &status, &status.facts(context.say.verbosity() > 0))?;
    failure.map_or(Ok(()), Err)
}

impl Status {
    fn fill(&mut self, Verified { info, me }: Verified) {
        self.authenticated = true;
        self.user = Some(me.user);
        self.roles = me.roles;
        self.proof = Some(me.proof);
        self.scopes = me.scopes_enforced.then_some(me.scopes);
        self.expires_at = (me.expires_at > 0).then(|| certificate::shown(me.expires_at));
        self.gateway = Some(format!("{}/{}", info.namespace, info.name));
        self.version = Some(info.version);
        self.mode = Some(info.mode);
        self.replica = Some(info.replica);
        self.allowed = me.methods.into_iter().filter(|it| it.allowed).map(|it| it.method).collect();
    }

    fn facts(&self, more: bool) -> Vec<(&'static str, String)> {
        let text = |of: &Option<String>| of.clone().unwrap_or_default();
        let reachable = match (self.reachable, self.answered_ms) {
            (true, Some(time)) => format!("yes, in {time} ms"),
            _ => "no".to_owned(),
        };
        let known = match (&self.user, &self.proof) {
            (Some(user), Some(proof)) => format!("yes, as {user} by {proof}"),
            _ => "no".to_owned(),
        };
        let scopes = match &self.scopes {
            Some(scopes) if scopes.is_empty() => "none".to_owned(),
            Some(scopes) => scopes.join(" "),
            None => String::new(),
        };
        vec![
            ("Name", self.name.clone().unwrap_or_else(|| "not stored".to_owned())),
            ("Endpoint", self.endpoint.clone()),
            ("Reachable", reachable),
            ("Authenticated", known),
            ("Reason", text(&self.reason)),
            ("Roles", self.roles.join(" ")),
            ("Scopes", scopes),
            ("Until", text(&self.expires_at)),
            ("Gateway", text(&self.gateway)),
            ("Version", text(&self.version)),
            ("Mode", text(&self.mode)),
            ("Replica", text(&self.replica)),
            ("May call", if more { self.allowed.join("\n") } else { String::new() }),
        ]
    }
}
