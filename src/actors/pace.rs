//! Work that is held to a pace instead of a total: a download may take an hour, but not say nothing for minutes.
use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long a step that was told to end may take for that.
const WIND_UP_WITHIN: Duration = Duration::from_secs(30);
/// Progress is passed on this often; a new text at once.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

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

/// What became of work that can be told to end.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<T> {
    /// `None`: it was told to end and did not.
    pub outcome: Option<T>,
    /// It was told to end because it showed no progress for its patience.
    pub stalled: bool,
}

/// Held to a pace, and told to end by `stop`, which is cancelled for it when it stalls. What is told to end gets some time
/// for that.
pub async fn paced<T>(
    work: impl Future<Output = T>,
    signs: watch::Receiver<()>,
    patience: Duration,
    stop: &CancellationToken,
) -> Ended<T> {
    tokio::pin!(work);
    let stalled = tokio::select! {
        biased;
        outcome = while_it_moves(&mut work, signs, patience) => match outcome {
            Some(outcome) => return Ended { outcome: Some(outcome), stalled: false },
            None => true,
        },
        () = stop.cancelled() => false,
    };
    stop.cancel();
    Ended { outcome: timeout(WIND_UP_WITHIN, work).await.ok(), stalled }
}

/// Progress as work tells it, text and share: each word is a sign of life on `pulse`, and few enough are passed on to `tell`.
pub fn progress(
    pulse: watch::Sender<()>,
    tell: impl Fn(&str, Option<f64>) + Send + Sync + 'static,
) -> impl Fn(&str, Option<f64>) + Send + Sync + 'static {
    let told = Mutex::new((String::new(), None::<Instant>));
    move |text, share| {
        pulse.send_replace(());
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0 != text || told.1.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY) {
            *told = (text.to_owned(), Some(Instant::now()));
            tell(text, share);
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

    #[tokio::test(start_paused = true)]
    async fn what_stalls_or_is_stopped_is_told_to_end_and_given_time_for_it() {
        for (stalls, takes, outcome) in
            [(true, S(29), Some(7)), (true, S(31), None), (false, S(29), Some(7)), (false, S(31), None)]
        {
            let (_pulse, signs) = watch::channel(());
            let stop = CancellationToken::new();
            if !stalls {
                stop.cancel();
            }
            let told = stop.clone();
            let work = async move {
                told.cancelled().await;
                elapse(takes).await;
                7
            };
            assert_eq!(paced(work, signs, S(10), &stop).await, Ended { outcome, stalled: stalls }, "{takes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_text_is_told_at_once_and_the_same_now_and_then() {
        let (pulse, signs) = watch::channel(());
        let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let say = progress(pulse, move |text, share| heard.send((text.to_owned(), share)).unwrap());
        say("a", Some(0.1));
        say("a", Some(0.2));
        say("b", None);
        elapse(PROGRESS_EVERY).await;
        say("b", Some(0.3));
        let mut all = Vec::new();
        while let Ok(told) = hears.try_recv() {
            all.push(told);
        }
        assert_eq!(all, [("a".into(), Some(0.1)), ("b".into(), None), ("b".into(), Some(0.3))]);
        assert!(signs.has_changed().unwrap(), "each was a sign of life");
    }
}
