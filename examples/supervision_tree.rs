//! The agent's own actors are supervised too: one panics, one freezes, one cannot stay alive. In virtual time.
//!
//!     cargo run --example supervision_tree
//!
//! The root and its rule are the agent's own (`zlh::actors::root`); the children fail on purpose. Look at the times: a
//! panic is mended at once; a frozen actor is found by three unanswered pings; the other child never notices. One that
//! dies for ever is given up, the root with it: then the agent exits and whoever supervises the agent takes over.
#[path = "common/stage.rs"]
mod stage;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};
use stage::{Play, check};
use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use zlh::actors::root::{Child, Root, actor_rule};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        println!("         a panic: {}", panic.payload().downcast_ref::<&str>().unwrap_or(&"?"))
    }));
    stage::ended(play().await)
}

async fn play() -> Play {
    let began = Instant::now();
    let [clumsy, steady] = ["clumsy", "steady"].map(|name| Nursery { name, began, births: Arc::default() });
    let mut root = Root::spawn(vec![clumsy.child(), steady.child()], actor_rule()).await?;

    for child in [&clumsy, &steady] {
        child.alive(1).await?;
    }
    println!("\nIt panics:");
    clumsy.tell(Order::Panic)?;
    let mended = clumsy.alive(2).await?;
    check(mended < Duration::from_secs(1), format!("a panic was mended only after {mended:?}"))?;

    println!("\nIt freezes:");
    clumsy.tell(Order::Freeze)?;
    let mended = clumsy.alive(3).await?;
    check((30..90).contains(&mended.as_secs()), format!("a frozen actor was replaced after {mended:?}"))?;
    check(steady.births()? == 1, "the other child was restarted for nothing")?;

    println!("\nIt panics whenever it lives:");
    let mut deaths = 0;
    let given_up = loop {
        clumsy.tell(Order::Panic)?;
        deaths += 1;
        // Longer than the longest delay of the rule.
        if let Ok(reason) = timeout(Duration::from_secs(10), root.failed()).await {
            break reason;
        }
        check(deaths < 100, "it was restarted for ever")?;
    };
    println!("\nroot: {given_up}\n\nAs promised: mended at once, found by pings, given up after {deaths} more deaths.");
    check(given_up.contains("clumsy"), format!("the reason does not name the child: {given_up}"))
}

/// Where a child is born, again and again.
#[derive(Clone)]
struct Nursery {
    name: &'static str,
    began: Instant,
    births: Arc<Mutex<Vec<ActorRef<Order>>>>,
}

impl Nursery {
    fn child(&self) -> Child {
        let (nursery, pinged) = (self.clone(), self.clone());
        let spawn = move |root| {
            let nursery = nursery.clone();
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, Patient, (), root).await?;
                let cell = actor.get_cell();
                if let Ok(mut births) = nursery.births.lock() {
                    births.push(actor);
                    println!(
                        "{:>6.1}s  {} is born, life {}",
                        nursery.began.elapsed().as_secs_f64(),
                        nursery.name,
                        births.len()
                    );
                }
                Ok(cell)
            }) as futures_util::future::BoxFuture<'static, _>
        };
        let ping = move || {
            let actor = pinged.newest();
            Box::pin(async move {
                let Ok(actor) = actor else { return false };
                matches!(actor.call(Order::Ping, None).await, Ok(CallResult::Success(())))
            }) as futures_util::future::BoxFuture<'static, _>
        };
        Child::new(self.name, Arc::new(spawn), Arc::new(ping))
    }

    fn newest(&self) -> Result<ActorRef<Order>, String> {
        let births = self.births.lock().map_err(|e| e.to_string())?;
        births.last().cloned().ok_or_else(|| format!("{} was never born", self.name))
    }

    fn births(&self) -> Result<usize, String> {
        Ok(self.births.lock().map_err(|e| e.to_string())?.len())
    }

    fn tell(&self, order: Order) -> Play {
        Ok(self.newest()?.cast(order)?)
    }

    /// Waits for this life; how long that took.
    async fn alive(&self, life: usize) -> Play<Duration> {
        let asked = Instant::now();
        while self.births()? < life {
            check(asked.elapsed() < Duration::from_secs(600), format!("{} is not reborn", self.name))?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(asked.elapsed())
    }
}

/// Does as told.
struct Patient;

enum Order {
    Panic,
    Freeze,
    Ping(RpcReplyPort<()>),
}

impl Actor for Patient {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, _: ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Order>, order: Order, _: &mut ()) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Panic => panic!("on purpose"),
            Order::Freeze => std::future::pending().await,
            Order::Ping(reply) => Ok(reply.send(())?),
        }
    }
}
