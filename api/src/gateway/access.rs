//! How callers prove who they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How callers prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// `MutualTLS`: with a client certificate that this Gateway's authority signed.
    #[serde(default)]
    pub mode: AccessMode,
}

/// What a caller shows at the door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// A client certificate that this Gateway's authority signed.
    #[default]
    MutualTLS,
}

impl AccessMode {
    /// The mode's name in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MutualTLS => "MutualTLS",
        }
    }
}
