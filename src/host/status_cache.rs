//! The status cache in Redis that several gateways share (CONTRACT §3), and the leases by which they share the work.
//!
//! `agent:<vmid>` holds an entry for 15 s. Whether it may replace what is there is decided in Redis itself, so that two
//! gateways that both believe to hold a lease cannot turn time back. Leases are `zlh:lease:<shard>` with a life of their
//! own; `zlh:gateways` lists who is alive, by Redis' own clock.
use crate::model::{ids::Vmid, settings::Secret};
use redis::{AsyncConnectionConfig, Client, Script, aio::MultiplexedConnection, cmd, pipe};
use std::{collections::BTreeSet, time::Duration};

/// Seconds an entry lives.
const LIFE: u64 = 15;
/// Entries in one command: one MGET of 10,000 would hold all others up for 5 ms.
const BATCH: usize = 500;
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Replaces an entry unless a newer one is there. An entry begins with what orders it (`policy::collector`); what begins
/// otherwise was not written by a gateway of this kind and is replaced.
const WRITE: &str = r#"
local function order(text)
  return string.match(text, '^{"hostOnline":%a+,"instanceId":"([^"]*)","revision":(%d+),"timestamp":(%-?%d+),"lastSeen":(%-?%d+)')
end
local there = redis.call('GET', KEYS[1])
if there then
  local life, revision, made, seen = order(there)
  local new_life, new_revision, new_made, new_seen = order(ARGV[1])
  if life and life == new_life then
    revision, new_revision = tonumber(revision), tonumber(new_revision)
    if revision > new_revision or (revision == new_revision and tonumber(seen) > tonumber(new_seen)) then return 0 end
  elseif life and tonumber(made) > tonumber(new_made) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"#;

/// One gateway's look at the leases: it says that it is alive, renews what it holds, and learns who else there is.
const LOOK: &str = r#"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', 'zlh:gateways', now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', 'zlh:gateways', '-inf', now - ARGV[2])
local mine, others = {}, {}
for shard = 0, ARGV[3] - 1 do
  local key = 'zlh:lease:' .. shard
  local holder = redis.call('GET', key)
  if holder == ARGV[1] then
    redis.call('PEXPIRE', key, ARGV[2])
    table.insert(mine, shard)
  elseif holder then
    table.insert(others, shard)
  end
end
return { redis.call('ZRANGE', 'zlh:gateways', 0, -1), mine, others }
"#;

const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

#[derive(Debug, thiserror::Error)]
#[error("Redis: {0}")]
pub struct Error(#[from] redis::RedisError);

/// What a look at the leases told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leases {
    /// Names of the gateways alive.
    pub gateways: Vec<String>,
    pub mine: BTreeSet<u16>,
    pub others: BTreeSet<u16>,
}

/// One connection. After an error it is not used any more.
pub struct StatusCache {
    connection: MultiplexedConnection,
    write: Script,
    look: Script,
    release: Script,
}

impl StatusCache {
    /// `url`: `redis://[user:password@]host:port[/database]`.
    pub async fn connect(url: &Secret) -> Result<StatusCache, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTS_WITHIN))
            .set_response_timeout(Some(ANSWERS_WITHIN));
        let client = Client::open(url.0.as_str())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let [write, look, release] = [WRITE, LOOK, RELEASE].map(Script::new);
        for script in [&write, &release] {
            script.prepare_invoke().load_async(&mut connection).await?;
        }
        Ok(StatusCache { connection, write, look, release })
    }

    /// Writes all of them; how many were older than what is there.
    pub async fn write(&mut self, entries: &[(Vmid, bytes::Bytes)]) -> Result<usize, Error> {
        let mut refused = 0;
        for batch in entries.chunks(BATCH) {
            let mut pipe = pipe();
            for (vmid, json) in batch {
                pipe.cmd("EVALSHA").arg(self.write.get_hash()).arg(1).arg(key(*vmid)).arg(&json[..]).arg(LIFE);
            }
            let taken: Vec<u8> = pipe.query_async(&mut self.connection).await?;
            refused += taken.iter().filter(|taken| **taken == 0).count();
        }
        Ok(refused)
    }

    /// The entries of all of them, in their order; `None` where there is none.
    pub async fn read(&mut self, vmids: &[Vmid]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut entries = Vec::with_capacity(vmids.len());
        for batch in vmids.chunks(BATCH) {
            let mut mget = cmd("MGET");
            batch.iter().for_each(|vmid| _ = mget.arg(key(*vmid)));
            let found: Vec<Option<Vec<u8>>> = mget.query_async(&mut self.connection).await?;
            entries.extend(found);
        }
        Ok(entries)
    }

    pub async fn look(&mut self, me: &str, lease: Duration, shards: u16) -> Result<Leases, Error> {
        let mut call = self.look.prepare_invoke();
        call.arg(me).arg(lease.as_millis() as u64).arg(shards);
        let (gateways, mine, others) = call.invoke_async(&mut self.connection).await?;
        Ok(Leases { gateways, mine, others })
    }

    /// Those of `shards` that nobody else held.
    pub async fn take(&mut self, me: &str, lease: Duration, shards: &[u16]) -> Result<Vec<u16>, Error> {
        let mut taken = Vec::new();
        for shard in shards {
            let mut set = cmd("SET");
            set.arg(lease_key(*shard)).arg(me).arg("NX").arg("PX").arg(lease.as_millis() as u64);
            let answer: Option<String> = set.query_async(&mut self.connection).await?;
            taken.extend(answer.map(|_| *shard));
        }
        Ok(taken)
    }

    /// Gives up all leases and is no more among those alive: others take over without waiting.
    pub async fn leave(&mut self, me: &str, shards: &BTreeSet<u16>) -> Result<(), Error> {
        let mut pipe = pipe();
        for shard in shards {
            pipe.cmd("EVALSHA").arg(self.release.get_hash()).arg(1).arg(lease_key(*shard)).arg(me).ignore();
        }
        pipe.cmd("ZREM").arg("zlh:gateways").arg(me).ignore();
        Ok(pipe.query_async(&mut self.connection).await?)
    }

    pub async fn release(&mut self, me: &str, shards: &[u16]) -> Result<(), Error> {
        for shard in shards {
            let mut call = self.release.key(lease_key(*shard));
            let _held: u8 = call.arg(me).invoke_async(&mut self.connection).await?;
        }
        Ok(())
    }
}

fn key(vmid: Vmid) -> String {
    format!("agent:{vmid}")
}

fn lease_key(shard: u16) -> String {
    format!("zlh:lease:{shard}")
}
