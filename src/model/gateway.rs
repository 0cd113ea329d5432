//! What the gateway knows: people and what they may do, servers and where their agents are.
pub mod settings;

use super::{ids::Vmid, settings::Secret, time::WallTime};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// A person's number (UUID text): names may change, this does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub String);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Lists of words on the wire and in the database: one table gives both directions.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            pub fn named(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a person is to the platform.
    Role {
        /// Sees and may do everything.
        Admin = "admin",
        /// Sees what is theirs; all else does not exist for them.
        Owner = "owner",
    }
}

words! {
    /// What runs in a container.
    ContainerType {
        Game = "game",
        Dev = "dev",
    }
}

words! {
    /// One kind of thing a credential may be used for. A session may do all its user may; a token what it names.
    Scope {
        /// Look: status, lists, logs, files.
        Read = "read",
        /// Start, stop, restart, kill; code-server too.
        Power = "power",
        /// Watch and type into the console.
        Console = "console",
        /// Write, upload and delete files and mods.
        Files = "files",
        /// Make, restore and delete backups.
        Backups = "backups",
        /// Configure a server, install runtimes.
        Provision = "provision",
        /// Enter the browser IDE.
        Ide = "ide",
        /// Change the registry and people; the user must be an admin as well.
        Admin = "admin",
    }
}

words! {
    /// Which part of the gateway a credential is meant for; it opens no other.
    Audience {
        Api = "api",
        /// `/metrics` and `/exporters` alone.
        Monitoring = "monitoring",
    }
}

words! {
    CredentialKind {
        /// Made by a login.
        Session = "session",
        /// Made for a program.
        Token = "token",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub role: Role,
    /// Rises when all credentials of this person end at once: password changed, logged out everywhere.
    pub epoch: u64,
    /// May do nothing, and nothing made before holds.
    pub suspended: bool,
    pub created_at: WallTime,
}

/// SHA-256 of a credential's secret: the secret itself is stored nowhere.
pub type SecretHash = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub id: String,
    pub kind: CredentialKind,
    pub hash: SecretHash,
    pub user: UserId,
    /// What its maker called it.
    pub name: String,
    pub scopes: Vec<Scope>,
    pub audience: Audience,
    /// The user's epoch when it was made.
    pub epoch: u64,
    pub created_at: WallTime,
    pub expires_at: Option<WallTime>,
}

/// Everybody, and every credential that may still hold.
#[derive(Clone, Debug, Default)]
pub struct People {
    pub users: HashMap<UserId, Arc<User>>,
    pub credentials: HashMap<SecretHash, Arc<Credential>>,
    /// The same credentials by their ids.
    pub by_id: HashMap<String, Arc<Credential>>,
}

impl People {
    pub fn insert(&mut self, credential: Credential) {
        let credential = Arc::new(credential);
        self.by_id.insert(credential.id.clone(), credential.clone());
        self.credentials.insert(credential.hash, credential);
    }

    pub fn named(&self, name: &str) -> Option<&Arc<User>> {
        self.users.values().find(|user| user.name == name)
    }
}

/// One container, and where its agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub vmid: Vmid,
    pub name: String,
    pub container_type: ContainerType,
    pub owner: UserId,
    pub address: IpAddr,
    pub agent_port: u16,
    pub ide_port: u16,
    /// The agent's bearer token; encrypted where it is stored.
    pub agent_token: Option<Secret>,
    pub created_at: WallTime,
}

/// The whole registry.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    pub by_vmid: BTreeMap<Vmid, Arc<Server>>,
}

impl Servers {
    pub fn one(&self, vmid: Vmid) -> Option<&Arc<Server>> {
        self.by_vmid.get(&vmid)
    }
}

/// What a route asks of its caller. Every route names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// A known person.
    Person(Scope),
    /// The owner of the server in the path, or an admin. To all others the server does not exist.
    Server(Scope),
    /// As `Server`, and it must be a container of that type.
    Kind(ContainerType, Scope),
    Admin,
    /// A credential made for monitoring, or an admin.
    Monitoring,
}

/// A caller whose credential held when the request came.
#[derive(Clone, Debug)]
pub struct Principal {
    pub user: Arc<User>,
    pub credential: Arc<Credential>,
}

/// Why a caller may not; HTTP turns it into problem+json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No credential, or none that holds.
    Unknown,
    /// The credential is good, but not for this.
    Scope(Scope),
    Audience,
    /// Only admins may.
    NotAdmin,
    /// Not there, or not the caller's to see.
    Absent,
    /// The route is for the other type of container.
    WrongType(ContainerType),
}

/// Who may enter one container's IDE, from a redeemed token or a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdePass {
    pub user: UserId,
    pub vmid: Vmid,
    /// The user's epoch when it was made.
    pub epoch: u64,
    /// The session or token it was asked for with: it ends with that.
    pub credential: String,
    pub expires_at: WallTime,
}

/// Why an IDE token or cookie opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdeDenial {
    /// Not a token of this gateway, or changed on its way.
    Invalid,
    Expired,
    /// Redeemed before.
    Used,
    /// For another container.
    OtherContainer,
    /// The person, the container or the ownership is not what it was.
    Revoked,
    /// The database cannot say whether it was used before.
    Unavailable,
}

/// One key of IDE tokens; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// `kid` in the tokens' header.
    pub id: String,
    pub key: [u8; 32],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}
