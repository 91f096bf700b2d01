//! What is to be called when: a fixed number of deadlines, and which of them comes next.

/// What a timer calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callback {
    pub(super) function: fn(usize),
    pub(super) argument: usize,
}

/// Names an entry, and never another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// TSC from which on it is due.
    deadline: u64,
    /// Later entries have greater ones.
    id: Id,
    callback: Callback,
}

/// Up to `N` entries. Few enough to be searched one by one.
#[derive(Debug)]
pub(super) struct Queue<const N: usize> {
    entries: [Option<Entry>; N],
    next_id: u64,
}

impl<const N: usize> Queue<N> {
    pub(super) const fn new() -> Self {
        Self { entries: [None; N], next_id: 0 }
    }

    /// Adds an entry; `None` if there is no room.
    pub(super) fn insert(&mut self, deadline: u64, callback: Callback) -> Option<Id> {
        let slot = self.entries.iter_mut().find(|slot| slot.is_none())?;
        let id = Id(self.next_id);
        self.next_id += 1;
        *slot = Some(Entry { deadline, id, callback });
        Some(id)
    }

    /// Removes an entry; whether it was still there.
    pub(super) fn remove(&mut self, id: Id) -> bool {
        let is_it = |slot: &&mut Option<Entry>| slot.is_some_and(|entry| entry.id == id);
        self.entries.iter_mut().find(is_it).and_then(Option::take).is_some()
    }

    /// The deadline that comes first.
    pub(super) fn earliest(&self) -> Option<u64> {
        self.entries.iter().flatten().map(|entry| entry.deadline).min()
    }

    /// The name that the next entry gets.
    pub(super) const fn next_id(&self) -> Id {
        Id(self.next_id)
    }

    /// Takes out the first entry older than `newer` that is due: by its deadline, and by age where deadlines are equal.
    pub(super) fn take_due(&mut self, now: u64, newer: Id) -> Option<Callback> {
        let is_due = |entry: Entry| entry.deadline <= now && entry.id < newer;
        let due = |slot: &&mut Option<Entry>| slot.is_some_and(is_due);
        let order = |slot: &&mut Option<Entry>| slot.map(|entry| (entry.deadline, entry.id));
        let first = self.entries.iter_mut().filter(due).min_by_key(order)?;
        first.take().map(|entry| entry.callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn callback(argument: usize) -> Callback {
        Callback { function: drop, argument }
    }

    fn due(queue: &mut Queue<4>, now: u64) -> Vec<usize> {
        let newer = queue.next_id();
        core::iter::from_fn(|| queue.take_due(now, newer)).map(|callback| callback.argument).collect()
    }

    #[test]
    fn what_is_added_meanwhile_is_not_taken() {
        let mut queue = Queue::<4>::new();
        queue.insert(5, callback(0));
        let newer = queue.next_id();
        let mut taken = 0;
        while queue.take_due(10, newer).is_some() {
            taken += 1;
            queue.insert(5, callback(1));
        }
        assert_eq!((taken, due(&mut queue, 10)), (1, Vec::from([1])));
    }

    #[test]
    fn entries_come_by_deadline_then_by_age() {
        let mut queue = Queue::<4>::new();
        for (deadline, argument) in [(30, 0), (10, 1), (20, 2), (10, 3)] {
            assert!(queue.insert(deadline, callback(argument)).is_some());
        }
        assert_eq!(queue.earliest(), Some(10));
        assert_eq!(due(&mut queue, 9), []);
        assert_eq!(due(&mut queue, 20), [1, 3, 2]);
        assert_eq!(queue.earliest(), Some(30));
        assert_eq!(due(&mut queue, u64::MAX), [0]);
        assert_eq!(queue.earliest(), None);
    }

    #[test]
    fn age_counts_whatever_the_slot() {
        let mut queue = Queue::<4>::new();
        let first = queue.insert(5, callback(0)).unwrap();
        queue.insert(5, callback(1)).unwrap();
        queue.remove(first);
        queue.insert(5, callback(2)).unwrap();
        assert_eq!(due(&mut queue, 5), [1, 2]);
    }

    #[test]
    fn an_entry_is_removed_once_and_no_other_for_it() {
        let mut queue = Queue::<4>::new();
        let gone = queue.insert(5, callback(0)).unwrap();
        assert!(queue.remove(gone));
        queue.insert(5, callback(1)).unwrap();
        assert!(!queue.remove(gone));
        assert_eq!(due(&mut queue, 5), [1]);
    }

    #[test]
    fn a_full_queue_takes_no_more_until_one_is_gone() {
        let mut queue = Queue::<4>::new();
        let ids = [1, 2, 3, 4].map(|deadline| queue.insert(deadline, callback(0)).unwrap());
        assert_eq!(queue.insert(0, callback(0)), None);
        assert!(queue.remove(ids[2]));
        assert!(queue.insert(0, callback(0)).is_some());
    }
}
