//! Work that is held to a pace instead of a total: a download may take an hour, but not say nothing for minutes.
use std::{future::Future, time::Duration};
use tokio::{sync::watch, time::timeout};

/// The work's outcome, or `None` once `signs` has been still for `patience`.
pub async fn while_it_moves<T>(
    work: impl Future<Output = T>,
    mut signs: watch::Receiver<()>,
    patience: Duration,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        let sign = async {
            if signs.changed().await.is_err() {
                std::future::pending::<()>().await; // nobody can show progress any more: patience decides
            }
        };
        tokio::select! {
            biased;
            outcome = &mut work => return Some(outcome),
            moved = timeout(patience, sign) => moved.ok()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const S: fn(u64) -> Duration = Duration::from_secs;

    async fn elapse(time: Duration) {
        assert!(timeout(time, std::future::pending::<()>()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_begins_anew_with_every_sign() {
        let (pulse, signs) = watch::channel(());
        let began = Instant::now();
        let work = async {
            for _ in 0..10 {
                elapse(S(9)).await;
                pulse.send_replace(());
            }
            std::future::pending::<()>().await;
        };
        assert_eq!(while_it_moves(work, signs, S(10)).await, None);
        assert_eq!(began.elapsed(), S(100));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_in_time_is_the_outcome() {
        let (pulse, signs) = watch::channel(());
        drop(pulse);
        let work = async {
            elapse(S(9)).await;
            7
        };
        assert_eq!(while_it_moves(work, signs, S(10)).await, Some(7));
    }
}
