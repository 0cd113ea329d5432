//! Registry: puts servers on the list, changes them, takes them off; says what is wrong with a wish.
use super::directory::Directory;
use crate::{
    host::{clock, database::Error},
    model::{
        gateway::{ContainerType, Server, User},
        ids::Vmid,
        settings::Secret,
    },
    policy::{address, people},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// What a new server should be.
#[derive(Clone, Debug)]
pub struct Wish {
    pub vmid: u32,
    pub name: String,
    pub container_type: ContainerType,
    /// A user's name.
    pub owner: String,
    pub address: String,
    pub agent_port: u16,
    pub ide_port: u16,
    pub agent_token: Option<Secret>,
}

/// What should change; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub name: Option<String>,
    pub container_type: Option<ContainerType>,
    pub owner: Option<String>,
    pub address: Option<String>,
    pub agent_port: Option<u16>,
    pub ide_port: Option<u16>,
    pub agent_token: Option<Secret>,
}

/// Why the list stays as it is.
#[derive(Debug)]
pub enum Refused {
    /// A field has a value that cannot be.
    Field(&'static str, String),
    Exists,
    Absent,
    Unavailable(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error {
            Error::Exists => Refused::Exists,
            error => Refused::Unavailable(error),
        }
    }
}

/// Clones share one state.
#[derive(Clone)]
pub struct Registry {
    directory: Directory,
    rules: address::Rules,
    /// Our own listeners: no agent is there.
    own: Arc<Vec<SocketAddr>>,
}

impl Registry {
    /// `loopback`, `link_local`: may agents have such addresses?
    pub fn new(directory: Directory, loopback: bool, link_local: bool, own: Vec<SocketAddr>) -> Registry {
        Registry { directory, rules: address::Rules { loopback, link_local }, own: Arc::new(own) }
    }

    pub async fn add(&self, wish: Wish) -> Result<Arc<Server>, Refused> {
        if !(1..=999_999_999).contains(&wish.vmid) {
            return Err(Refused::Field("vmid", "1 to 999999999".into()));
        }
        let server = Server {
            vmid: Vmid(wish.vmid),
            owner: self.owner(&wish.owner)?.id.clone(),
            address: self.address(&wish.address)?,
            name: wish.name,
            container_type: wish.container_type,
            agent_port: wish.agent_port,
            ide_port: wish.ide_port,
            agent_token: wish.agent_token,
            created_at: clock::wall_time(),
        };
        self.check(&server)?;
        self.directory.database().add_server(&server, &self.directory.keyring()).await?;
        self.directory.refresh().await?;
        Ok(Arc::new(server))
    }

    pub async fn change(&self, vmid: Vmid, changes: Changes) -> Result<Arc<Server>, Refused> {
        let before = self.directory.servers().one(vmid).cloned().ok_or(Refused::Absent)?;
        let mut server = Server::clone(&before);
        if let Some(owner) = &changes.owner {
            server.owner = self.owner(owner)?.id.clone();
        }
        if let Some(address) = &changes.address {
            server.address = self.address(address)?;
        }
        server.name = changes.name.unwrap_or(server.name);
        server.container_type = changes.container_type.unwrap_or(server.container_type);
        server.agent_port = changes.agent_port.unwrap_or(server.agent_port);
        server.ide_port = changes.ide_port.unwrap_or(server.ide_port);
        server.agent_token = changes.agent_token.or(server.agent_token);
        self.check(&server)?;
        let there = self.directory.database().update_server(&server, &self.directory.keyring()).await?;
        self.directory.refresh().await?;
        if there { Ok(Arc::new(server)) } else { Err(Refused::Absent) }
    }

    pub async fn remove(&self, vmid: Vmid) -> Result<(), Refused> {
        let there = self.directory.database().remove_server(vmid).await?;
        self.directory.refresh().await?;
        if there { Ok(()) } else { Err(Refused::Absent) }
    }

    fn owner(&self, name: &str) -> Result<Arc<User>, Refused> {
        let found = self.directory.people().named(name).cloned();
        found.ok_or_else(|| Refused::Field("owner", format!("there is no user {name:?}")))
    }

    fn address(&self, text: &str) -> Result<IpAddr, Refused> {
        address::parse(text, self.rules).map_err(|why| Refused::Field("address", why.into()))
    }

    fn check(&self, server: &Server) -> Result<(), Refused> {
        people::server_name(&server.name).map_err(|why| Refused::Field("name", why.into()))?;
        let taken = |port| self.own.iter().any(|own| own.port() == port && is_here(server.address, own.ip()));
        for (field, port) in [("agentPort", server.agent_port), ("idePort", server.ide_port)] {
            if port == 0 {
                return Err(Refused::Field(field, "1 to 65535".into()));
            }
            if taken(port) {
                return Err(Refused::Field(field, "the gateway itself listens there".into()));
            }
        }
        // What opens the IDE's port must not open the agent, which trusts whoever reaches it with the token.
        if server.agent_port == server.ide_port {
            return Err(Refused::Field("idePort", "the same as agentPort".into()));
        }
        Ok(())
    }
}

fn is_here(address: IpAddr, own: IpAddr) -> bool {
    address == own.to_canonical() || (own.is_unspecified() && address.is_loopback())
}
