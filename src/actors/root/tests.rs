//! Root with children that fail on purpose, in virtual time.
use super::*;
use crate::actors::slot::Slot;
use ractor::ActorStatus;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// A child that does as told.
struct Dummy;

enum Order {
    Panic,
    Fail,
    End,
    Freeze,
    Ping(RpcReplyPort<()>),
}

impl Actor for Dummy {
    type Msg = Order;
    type State = ();
    type Arguments = bool;

    async fn pre_start(&self, _: ActorRef<Order>, fails: bool) -> Result<(), ActorProcessingErr> {
        if fails { Err("injected: cannot begin".into()) } else { Ok(()) }
    }

    async fn handle(&self, me: ActorRef<Order>, order: Order, _: &mut ()) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Panic => panic!("injected"),
            Order::Fail => Err("injected".into()),
            Order::End => {
                me.stop(None);
                Ok(())
            }
            Order::Freeze => std::future::pending().await,
            Order::Ping(reply) => Ok(reply.send(())?),
        }
    }
}

/// A nursery that counts births; the first `failing` of them fail.
#[derive(Clone, Default)]
struct Nursery {
    slot: Slot<Order>,
    births: Arc<AtomicU32>,
    failing: Arc<AtomicU32>,
}

impl Nursery {
    fn child(&self) -> Child {
        let (mold, slot) = (self.clone(), self.slot.clone());
        let spawn: Spawn = Arc::new(move |root| {
            let Nursery { slot, births, failing } = mold.clone();
            Box::pin(async move {
                births.fetch_add(1, SeqCst);
                let fails = failing.try_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
                let (actor, _) = Actor::spawn_linked(None, Dummy, fails, root).await?;
                slot.put(actor.clone());
                Ok(actor.get_cell())
            })
        });
        let ping: Ping = Arc::new(move || {
            let slot = slot.clone();
            Box::pin(async move { slot.answers(Order::Ping).await })
        });
        Child::new("dummy", spawn, ping)
    }

    fn births(&self) -> u32 {
        self.births.load(SeqCst)
    }

    async fn answers(&self) -> bool {
        self.slot.call(Duration::from_secs(1), Order::Ping).await.is_ok()
    }

    /// Looks every 10 ms of virtual time, for at most a minute of it.
    async fn until_born(&self, times: u32) {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..6000 {
            if self.births() >= times && self.answers().await {
                return;
            }
            tick.tick().await;
        }
        panic!("born {} times, not {times}", self.births());
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_child_it_is_born_again() {
    let nursery = Nursery::default();
    let _root = Root::spawn(vec![nursery.child()], actor_rule()).await.unwrap();
    nursery.until_born(1).await;
    for (n, order) in [Order::Panic, Order::Fail, Order::End].into_iter().enumerate() {
        nursery.slot.cast(order);
        nursery.until_born(n as u32 + 2).await;
    }
    assert_eq!(nursery.births(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_failed_birth_is_tried_again_although_no_event_tells_of_it() {
    let nursery = Nursery::default();
    nursery.failing.store(2, SeqCst);
    let _root = Root::spawn(vec![nursery.child()], actor_rule()).await.unwrap();
    nursery.until_born(3).await;
}

#[tokio::test(start_paused = true)]
async fn one_for_one() {
    let (a, b) = (Nursery::default(), Nursery::default());
    let _root = Root::spawn(vec![a.child(), b.child()], actor_rule()).await.unwrap();
    b.until_born(1).await;
    a.slot.cast(Order::Panic);
    a.until_born(2).await;
    assert_eq!(b.births(), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_deaths_end_the_root_with_a_reason() {
    let nursery = Nursery::default();
    nursery.failing.store(u32::MAX, SeqCst);
    let mut root = Root::spawn(vec![nursery.child()], actor_rule()).await.unwrap();
    let began = Instant::now();
    let why = root.failed().await;
    assert!(why.contains("actor dummy cannot be kept alive: 6 crashes in a row"), "{why}");
    assert_eq!((nursery.births(), began.elapsed().as_millis()), (6, 7600));
}

#[tokio::test(start_paused = true)]
async fn a_minute_of_life_is_forgiven() {
    let nursery = Nursery::default();
    let _root = Root::spawn(vec![nursery.child()], actor_rule()).await.unwrap();
    for n in 1..=12 {
        nursery.until_born(n).await;
        tokio::time::sleep(Duration::from_secs(150)).await;
        nursery.slot.cast(Order::Panic);
    }
    nursery.until_born(13).await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_child_is_replaced_after_three_pings() {
    let nursery = Nursery::default();
    let _root = Root::spawn(vec![nursery.child()], actor_rule()).await.unwrap();
    nursery.until_born(1).await;
    nursery.slot.cast(Order::Freeze);
    let frozen = Instant::now();
    nursery.until_born(2).await;
    assert!(frozen.elapsed() <= PING_EVERY * 3 + PING_WITHIN + Duration::from_secs(2), "{:?}", frozen.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_is_frozen_keeps_nobody_else_from_being_asked() {
    let (a, b) = (Nursery::default(), Nursery::default());
    let _root = Root::spawn(vec![a.child(), b.child()], actor_rule()).await.unwrap();
    b.until_born(1).await;
    let frozen = Instant::now();
    for nursery in [&a, &b] {
        nursery.slot.cast(Order::Freeze);
    }
    b.until_born(2).await;
    assert!(frozen.elapsed() <= PING_EVERY * 3 + PING_WITHIN * 2 + Duration::from_secs(2), "{:?}", frozen.elapsed());
    assert_eq!(a.births(), 2);
}

#[tokio::test(start_paused = true)]
async fn on_the_way_down_nothing_is_born_and_nobody_is_left() {
    let (a, b) = (Nursery::default(), Nursery::default());
    let root = Root::spawn(vec![a.child(), b.child()], actor_rule()).await.unwrap();
    b.until_born(1).await;
    let (first, second) = (a.slot.current().unwrap(), b.slot.current().unwrap());
    let farewell = async {
        b.slot.cast(Order::End);
        second.get_cell().wait(None).await.unwrap();
        assert!(a.answers().await, "the first-born outlives the others");
    };
    root.shut_down(farewell).await;
    assert_eq!((a.births(), b.births()), (1, 1));
    assert_eq!([first.get_status(), second.get_status()], [ActorStatus::Stopped; 2]);
}
