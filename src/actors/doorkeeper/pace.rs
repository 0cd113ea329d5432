//! How often somebody may try: logins by name and address, requests by person. Bounded, whatever names are tried.
use crate::model::gateway::{
    UserId,
    settings::{Login, Requests},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed, keyed::HashMapStateStore},
};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

/// Keys remembered; past them only those that are being slowed down are.
const MOST_KEYS: usize = 50_000;
/// Tries of one address, whatever the names, against tries of one name.
const ADDRESS_FACTOR: u32 = 10;
/// One more look at the database for an unknown secret is granted so often, and so many at once.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 20;

pub struct Paces {
    /// Names are hashed with a seed of this life: their length costs nothing, and nobody can aim at another's key.
    seed: RandomState,
    names: Limiter<(u64, IpAddr)>,
    addresses: Limiter<IpAddr>,
    people: Limiter<UserId>,
    /// Looks at the database for unknown secrets.
    looks: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    streams: Arc<Mutex<HashMap<UserId, usize>>>,
    most_streams: usize,
    clock: DefaultClock,
}

impl Paces {
    pub fn new(login: &Login, requests: &Requests) -> Paces {
        let tries = quota(login.refill, login.burst);
        let all = quota(login.refill / ADDRESS_FACTOR, login.burst.saturating_mul(ADDRESS_FACTOR));
        let person = quota(Duration::from_secs(1) / requests.per_second.max(1), requests.burst);
        Paces {
            seed: RandomState::new(),
            names: RateLimiter::hashmap(tries),
            addresses: RateLimiter::hashmap(all),
            people: RateLimiter::hashmap(person),
            looks: RateLimiter::direct(quota(LOOK, LOOKS)),
            streams: Arc::default(),
            most_streams: requests.streams_per_user,
            clock: DefaultClock::default(),
        }
    }

    /// The error: try again after this time.
    pub fn login(&self, name: &str, peer: IpAddr) -> Result<(), Duration> {
        let peer = network(peer);
        self.check(&self.addresses, &peer)?;
        self.check(&self.names, &(self.seed.hash_one(name), peer))
    }

    pub fn request(&self, user: &UserId) -> Result<(), Duration> {
        self.check(&self.people, user)
    }

    pub fn second_look(&self) -> bool {
        self.looks.check().is_ok()
    }

    pub fn stream(&self, user: &UserId) -> Option<StreamPermit> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.entry(user.clone()).or_default();
        if *open >= self.most_streams {
            return None;
        }
        *open += 1;
        Some(StreamPermit { streams: self.streams.clone(), user: user.clone() })
    }

    fn check<K: Hash + Eq + Clone>(&self, limiter: &Limiter<K>, key: &K) -> Result<(), Duration> {
        if limiter.len() >= MOST_KEYS {
            limiter.retain_recent();
        }
        limiter.check_key(key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

/// One open stream; dropping it makes room for another.
pub struct StreamPermit {
    streams: Arc<Mutex<HashMap<UserId, usize>>>,
    user: UserId,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let left = streams.get(&self.user).map_or(0, |open| open.saturating_sub(1));
        match left {
            0 => _ = streams.remove(&self.user),
            _ => _ = streams.insert(self.user.clone(), left),
        }
    }
}

fn quota(refill: Duration, burst: u32) -> Quota {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let refill = refill.max(Duration::from_nanos(1));
    Quota::with_period(refill).unwrap_or(Quota::per_second(burst)).allow_burst(burst)
}

/// One customer of an IPv6 provider has a whole /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::from([s[0], s[1], s[2], s[3], 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paces() -> Paces {
        let hour = Duration::from_secs(3600);
        let requests = Requests { per_second: 1, burst: 2, idempotency: hour, streams_per_user: 1 };
        Paces::new(&Login { burst: 3, refill: hour, parallel: 1 }, &requests)
    }

    fn allowed(mut tries: impl FnMut() -> Result<(), Duration>) -> usize {
        (0..1000).take_while(|_| tries().is_ok()).count()
    }

    #[test]
    fn a_name_from_an_address_gets_few_tries_and_the_address_some_more() {
        let paces = paces();
        let (here, there): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!(allowed(|| paces.login("ann", here)), 3);
        assert!(paces.login("ann", here).unwrap_err() > Duration::from_secs(3000));
        assert_eq!(allowed(|| paces.login("ann", there)), 3, "who is elsewhere is not locked out");
        let mut n = 0;
        let sprayed = allowed(|| {
            n += 1;
            paces.login(&format!("name{n}"), here)
        });
        assert_eq!(sprayed, 30 - 5, "three tries and two refusals of ann count");
    }

    #[test]
    fn a_whole_ipv6_network_is_one_address() {
        let paces = paces();
        let mut n = 0u16;
        let tries = allowed(|| {
            n += 1;
            paces.login("ann", IpAddr::from([0x2a00, 1, 2, 3, 0, 0, 0, n]))
        });
        assert_eq!(tries, 3);
        assert!(paces.login("bob", "::ffff:10.0.0.1".parse().unwrap()).is_ok());
    }

    #[test]
    fn streams_are_counted_and_given_back() {
        let paces = paces();
        let (ann, bob) = (UserId("ann".into()), UserId("bob".into()));
        let open = paces.stream(&ann).unwrap();
        assert!(paces.stream(&ann).is_none() && paces.stream(&bob).is_some());
        drop(open);
        assert!(paces.stream(&ann).is_some());
        assert!(paces.streams.lock().unwrap().is_empty(), "nobody is remembered for nothing");
    }

    #[test]
    fn people_are_paced_apart() {
        let paces = paces();
        assert_eq!(allowed(|| paces.request(&UserId("a".into()))), 2);
        assert_eq!(allowed(|| paces.request(&UserId("b".into()))), 2);
    }
}
