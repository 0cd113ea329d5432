//! The registry of servers. Agent tokens are encrypted before they come here.
use super::{Database, Error, Part, Row};
use crate::{
    host::keyring::Keyring,
    model::{
        gateway::{ContainerType, Server, Servers, UserId},
        ids::Vmid,
        time::WallTime,
    },
};
use std::{net::IpAddr, sync::Arc};

impl Database {
    /// A server whose token cannot be opened is there without it, and named in the log: others must not suffer.
    pub async fn servers(&self, keyring: &Keyring) -> Result<Servers, Error> {
        let sql = "SELECT vmid, name, container_type, owner, address, agent_port, ide_port, agent_token, created_at \
                   FROM servers";
        let mut servers = Servers::default();
        for row in self.rows(sql, &[]).await? {
            let server = server(&row, keyring)?;
            servers.by_vmid.insert(server.vmid, Arc::new(server));
        }
        Ok(servers)
    }

    pub async fn add_server(&self, server: &Server, keyring: &Keyring) -> Result<(), Error> {
        let mut change = self.change(Part::Servers).await?;
        let sql = "INSERT INTO servers \
                   (vmid, name, container_type, owner, address, agent_port, ide_port, agent_token, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let [vmid, name, kind, owner, address, agent_port, ide_port, token] = values(server, keyring)?;
        let created = server.created_at.0.into();
        let values = [vmid, name, kind, owner, address, agent_port, ide_port, token, created];
        change.execute(sql, &values).await?;
        change.commit().await
    }

    /// False: no such server.
    pub async fn update_server(&self, server: &Server, keyring: &Keyring) -> Result<bool, Error> {
        let mut change = self.change(Part::Servers).await?;
        let sql = "UPDATE servers SET name = $2, container_type = $3, owner = $4, address = $5, agent_port = $6, \
                   ide_port = $7, agent_token = $8 WHERE vmid = $1";
        let touched = change.execute(sql, &values(server, keyring)?).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    pub async fn remove_server(&self, vmid: Vmid) -> Result<bool, Error> {
        let mut change = self.change(Part::Servers).await?;
        let touched = change.execute("DELETE FROM servers WHERE vmid = $1", &[i64::from(vmid.0).into()]).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    /// Encrypts every agent token with the newest key. Returns how many there are.
    pub async fn close_tokens_anew(&self, keyring: &Keyring) -> Result<usize, Error> {
        let mut change = self.change(Part::Servers).await?;
        let rows = change.rows("SELECT vmid, agent_token FROM servers WHERE agent_token IS NOT NULL", &[]).await?;
        for row in &rows {
            let vmid = Vmid(row.fitting(0)?);
            let token = keyring.open_token(vmid, &row.text(1)?)?;
            let values = [i64::from(vmid.0).into(), keyring.close(vmid, &token)?.into()];
            change.execute("UPDATE servers SET agent_token = $2 WHERE vmid = $1", &values).await?;
        }
        change.commit().await?;
        Ok(rows.len())
    }
}

fn values(server: &Server, keyring: &Keyring) -> Result<[super::Value; 8], Error> {
    let token = server.agent_token.as_ref().map(|token| keyring.close(server.vmid, token)).transpose()?;
    Ok([
        i64::from(server.vmid.0).into(),
        server.name.as_str().into(),
        server.container_type.as_str().into(),
        server.owner.0.as_str().into(),
        server.address.to_string().into(),
        i64::from(server.agent_port).into(),
        i64::from(server.ide_port).into(),
        token.into(),
    ])
}

fn server(row: &Row, keyring: &Keyring) -> Result<Server, Error> {
    let vmid = Vmid(row.fitting(0)?);
    let unusable = |what: &str| Error::Unusable(format!("server {vmid} with {what}"));
    let token = row.optional_text(7)?.map(|stored| keyring.open_token(vmid, &stored));
    if let Some(Err(error)) = &token {
        tracing::error!(%vmid, %error, "its agent's token cannot be read: is the key file the right one?");
    }
    Ok(Server {
        vmid,
        name: row.text(1)?,
        container_type: ContainerType::named(&row.text(2)?).ok_or_else(|| unusable("an unknown type"))?,
        owner: UserId(row.text(3)?),
        address: row.text(4)?.parse::<IpAddr>().map_err(|_| unusable("a bad address"))?,
        agent_port: row.fitting(5)?,
        ide_port: row.fitting(6)?,
        agent_token: token.and_then(Result::ok),
        created_at: WallTime(row.number(8)?),
    })
}
