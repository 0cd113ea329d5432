//! The queue to Redis: order, the newest only, nothing lost when a write fails.
use super::*;

fn taken(queue: &mut Queue) -> Vec<(u32, String)> {
    queue.take().into_iter().map(|(v, json)| (v.0, String::from_utf8(json.to_vec()).unwrap())).collect()
}

fn filled(entries: &[(u32, &'static str)]) -> Queue {
    let mut queue = Queue::default();
    entries.iter().for_each(|(vmid, json)| queue.push(Vmid(*vmid), Bytes::from_static(json.as_bytes())));
    queue
}

#[test]
fn the_newest_of_each_in_the_order_of_the_first() {
    let mut queue = filled(&[(1, "a"), (2, "b"), (1, "c"), (3, "d")]);
    assert_eq!(taken(&mut queue), [(1, "c".into()), (2, "b".into()), (3, "d".into())]);
    assert_eq!(taken(&mut queue), []);
}

#[test]
fn what_was_not_written_comes_first_and_never_replaces_newer() {
    let mut queue = filled(&[(1, "a"), (2, "b"), (3, "c")]);
    let lost = queue.take();
    queue.push(Vmid(4), Bytes::from_static(b"d"));
    queue.push(Vmid(2), Bytes::from_static(b"newer"));
    queue.put_back(lost);
    assert_eq!(taken(&mut queue), [(1, "a".into()), (2, "newer".into()), (3, "c".into()), (4, "d".into())]);
}

#[test]
fn a_long_absence_is_bounded_by_the_number_of_agents() {
    let mut queue = Queue::default();
    for round in 0..100 {
        (0..50).for_each(|vmid| queue.push(Vmid(vmid), Bytes::from(round.to_string())));
    }
    assert_eq!((queue.order.len(), queue.newest.len()), (50, 50));
    assert!(taken(&mut queue).iter().all(|(_, json)| json == "99"));
}
