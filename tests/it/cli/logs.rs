//! `zlh logs`: the right bytes, all of them, once each.
use super::{PATIENCE, Script, answers::interrupt, err, out, run, zlh};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

fn numbered(range: std::ops::Range<usize>) -> String {
    range.map(|n| format!("line {n}\n")).collect()
}

#[tokio::test]
async fn the_last_lines_from_however_far_back() {
    let agent = Script::start().await;
    agent.set(|f| (f.epoch, f.log_start) = (7, 1_000_000));
    agent.print(&numbered(0..100_000));
    for lines in [0, 1, 100, 30_000] {
        let answer = run(&agent, &["logs", "-n", &lines.to_string()]).await;
        assert_eq!(answer.status.code(), Some(0));
        assert!(out(&answer) == numbered(100_000 - lines..100_000), "{lines} lines");
    }
    assert!(out(&run(&agent, &["logs", "-n", "200000"]).await) == numbered(0..100_000));
    assert_eq!(out(&run(&agent, &["logs"]).await), numbered(99_900..100_000));
}

#[tokio::test]
async fn from_an_offset_and_what_is_not_kept_any_more() {
    let agent = Script::start().await;
    agent.set(|f| (f.epoch, f.log_start) = (7, 500));
    agent.print("abcdef\n");
    assert_eq!(out(&run(&agent, &["logs", "--from", "503"]).await), "def\n");
    assert_eq!(out(&run(&agent, &["logs", "--from", "-3"]).await), "ef\n");
    let lost = run(&agent, &["logs", "--from", "100"]).await;
    assert_eq!((out(&lost).as_str(), err(&lost).as_str()), ("abcdef\n", "[gap: 400 bytes lost]\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_survives_agent_restarts_without_loss_or_repetition() {
    let mut agent = Script::start().await;
    agent.set(|f| f.epoch = 7);
    agent.print(&numbered(0..10));
    let mut following = zlh(&agent, &["logs", "-f", "-n", "5"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut expect = async |range: std::ops::Range<usize>| {
        for n in range {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
            assert_eq!(line.as_deref(), Some(format!("line {n}").as_str()));
        }
    };
    expect(5..10).await;
    agent.print(&numbered(10..5_000));
    expect(10..5_000).await;
    for life in 0..3 {
        let first = 5_000 + life * 5_000;
        agent.go_away().await;
        agent.print(&numbered(first..first + 5_000));
        agent.come_back();
        expect(first..first + 5_000).await;
    }
    // While away more was printed than is kept: what is left follows, once.
    agent.go_away().await;
    agent.print(&numbered(20_000..20_100));
    agent.set(|f| {
        let kept = numbered(20_090..20_100).len();
        f.log_start += (f.log.len() - kept) as u64;
        f.log = f.log.split_off(f.log.len() - kept);
    });
    agent.come_back();
    expect(20_090..20_100).await;
    interrupt(&following);
    let status = tokio::time::timeout(PATIENCE, following.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    let asked = agent.seen(|f| f.viewers.clone());
    assert!(asked.iter().all(|q| q.starts_with("from=") && q.ends_with("&epoch=7")), "{asked:?}");
}

#[tokio::test]
async fn too_many_viewers_is_a_refusal() {
    let agent = Script::start().await;
    agent.set(|f| f.close_with = Some((1008, "30 viewers are watching already".into())));
    let refused = run(&agent, &["logs", "-f"]).await;
    assert_eq!(refused.status.code(), Some(4));
    assert!(err(&refused).contains("30 viewers are watching already"), "{}", err(&refused));
}
