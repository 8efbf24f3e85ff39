//! A tunnel as it is printed.

use portcullis_contract::gateway::{Tunnel, VisitorAuth};
use serde::Serialize;
use std::path::PathBuf;

use crate::background::Process;
use crate::gateways::Resolved;
use crate::say::{Column, Row};

/// A tunnel, for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) project: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) endpoint: String,
    pub(crate) protocol: String,
    pub(crate) hostnames: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) public: bool,
    pub(crate) connections: i32,
    /// True, False or Unknown.
    pub(crate) ready: String,
    /// Why, in one word.
    pub(crate) reason: String,
    /// Why, and what to do.
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) created_by: String,
    pub(crate) conditions: Vec<Condition>,
    /// The process on this machine that listens for it in the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Local>,
}

/// A process on this machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Local {
    pub(crate) pid: u32,
    pub(crate) log: PathBuf,
}

/// Something that is proved of it, or is not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    pub(crate) r#type: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl From<Tunnel> for Shown {
    fn from(tunnel: Tunnel) -> Self {
        // What is said of an earlier version of it proves nothing.
        let conditions = if tunnel.observed { tunnel.conditions } else { Vec::new() };
        let conditions: Vec<_> = conditions
            .into_iter()
            .map(|it| Condition {
                r#type: it.r#type,
                status: it.status,
                reason: it.reason,
                message: it.message,
            })
            .collect();
        let ready = conditions.iter().find(|it| it.r#type == "Ready");
        Self {
            ready: ready.map_or("Unknown", |it| &it.status).to_owned(),
            reason: ready.map_or("Pending", |it| &it.reason).to_owned(),
            message: ready.map_or("", |it| &it.message).to_owned(),
            public: tunnel.access.is_some_and(|access| access.auth() == VisitorAuth::None),
            project: tunnel.namespace,
            name: tunnel.name,
            url: tunnel.url,
            endpoint: tunnel.endpoint,
            protocol: tunnel.protocol,
            hostnames: tunnel.held_hostnames,
            enabled: tunnel.enabled,
            connections: tunnel.connected,
            created_by: tunnel.created_by,
            conditions,
            process: None,
        }
    }
}

impl Shown {
    /// With the process that listens for it, if one of these does, at this gateway.
    pub(crate) fn among(mut self, processes: &[Process], gateway: &Resolved) -> Self {
        let endpoint = gateway.endpoint.to_string();
        let own = processes
            .iter()
            .find(|it| it.gateway == endpoint && it.project == self.project && it.name == self.name);
        self.process = own.map(|it| Local { pid: it.pid, log: it.log.clone() });
        self
    }

    /// Its name with its project's.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.project, self.name)
    }

    /// What people are told of it.
    pub(crate) fn facts(&self) -> Vec<(&str, String)> {
        let visitors = if self.public { "everybody" } else { "those who say who they are" };
        let mut facts = vec![
            ("Name", self.title()),
            ("URL", self.url.clone()),
            ("Endpoint", self.endpoint.clone()),
            ("Protocol", self.protocol.clone()),
            ("Visitors", visitors.to_owned()),
            ("Enabled", if self.enabled { "yes" } else { "no: visitors are told that it is off" }.to_owned()),
            ("Connections", self.connections.to_string()),
            ("Created by", self.created_by.clone()),
        ];
        if let Some(Local { pid, log }) = &self.process {
            let how =
                format!("process {pid} on this machine; its log is {}; `kill {pid}` stops it", log.display());
            facts.push(("Listening", how));
        }
        for condition in &self.conditions {
            let told = if condition.status == "True" {
                format!("yes; {}", condition.message)
            } else {
                let word = if condition.status == "False" { "no" } else { "unknown" };
                format!("{word} ({}); {}", condition.reason, condition.message)
            };
            facts.push((&condition.r#type, told));
        }
        facts
    }
}

/// What a list of them shows.
pub(crate) const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("URL"),
    Column::new("ENDPOINT"),
    Column::new("CONNECTIONS"),
    Column::new("READY"),
    Column::wide("REASON"),
    Column::wide("CREATED-BY"),
    Column::wide("PROCESS"),
];

/// A line of that list.
pub(crate) fn row(tunnel: &Shown) -> Row {
    Row {
        name: tunnel.title(),
        cells: vec![
            tunnel.title(),
            tunnel.url.clone(),
            tunnel.endpoint.clone(),
            tunnel.connections.to_string(),
            tunnel.ready.clone(),
            tunnel.reason.clone(),
            tunnel.created_by.clone(),
            tunnel.process.as_ref().map(|it| it.pid.to_string()).unwrap_or_default(),
        ],
    }
}
