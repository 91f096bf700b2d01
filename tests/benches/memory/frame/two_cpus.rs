//! Frame allocators used by two CPUs at once: each takes a 4 KiB frame and gives it back, over and over.

use super::ours::Ours;
use super::work::{PAIRS, take_and_give};
use super::{Blocks, Small};
use crate::Result;
use crate::arena::{Arena, FRAMES, PAGE};
use crate::free_list::FreeList;
use buddy_system_allocator::LockedFrameAllocator;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use spin::Mutex;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use system_tests::contest::{Contest, Reach, Role, Work, nanoseconds};

/// How many there are.
const CPUS: usize = 2;

/// A frame allocator for several CPUs.
pub(crate) trait Shared: Sync + Sized {
    /// What one CPU uses it by.
    type Cpu<'a>: Blocks<Small>
    where
        Self: 'a;

    /// What the printed tables call it.
    fn name() -> String;

    /// One over [`FRAMES`], all of it free, for the CPUs 0 and 1.
    fn new(arena: Arena) -> Result<Self>;

    /// What the CPU with this number uses it by. Asked for once for each, by the thread that is the CPU.
    fn cpu(&self, number: usize) -> Self::Cpu<'_>;
}

/// Holds the contest of frame allocators on two CPUs.
///
/// # Errors
///
/// When a contestant refuses its work.
pub(crate) fn hold(arena: Arena) -> Result<()> {
    let Some(cpus) = two_cpus()? else {
        println!("\nthere is one CPU: no frame allocator was measured on two");
        return Ok(());
    };
    let title = "take and give back a 4 KiB frame on two CPUs at once, as each sees it";
    let mut contest = Contest::new([Work { title, reach: Reach::Under(8.0) }]);
    enter::<Ours>(arena, cpus, &mut contest, Role::Ours);
    enter::<Locked<LockedFrameAllocator>>(arena, cpus, &mut contest, Role::Peer);
    enter::<Locked<Mutex<FreeList>>>(arena, cpus, &mut contest, Role::Peer);
    enter::<Locked<Mutex<()>>>(arena, cpus, &mut contest, Role::Floor);
    contest.hold()
}

/// Two CPUs that this process may use.
fn two_cpus() -> Result<Option<[usize; CPUS]>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    Ok(cpus.next().zip(cpus.next()).map(|(first, second)| [first, second]))
}

fn enter<A: Shared>(arena: Arena, cpus: [usize; CPUS], contest: &mut Contest<'_, 1>, role: Role) {
    contest.enter(role, A::name(), move || both::<A>(arena, cpus));
}

/// Both CPUs at it from the same moment: nanoseconds from one pair of a CPU to its next, the mean of both.
fn both<A: Shared>(arena: Arena, cpus: [usize; CPUS]) -> Result<[f64; 1]> {
    let shared = A::new(arena)?;
    let ready = AtomicUsize::new(0);
    let work = |number: usize| -> std::result::Result<f64, String> {
        let mut set = CpuSet::new();
        set.set(cpus[number]).map_err(|error| error.to_string())?;
        let pinned = sched_setaffinity(Pid::from_raw(0), &set);
        let mut cpu = shared.cpu(number);
        // Also when the thread could not be pinned: the other one waits.
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < CPUS {
            spin_loop();
        }
        pinned.map_err(|error| format!("pinning a thread to CPU {}: {error}", cpus[number]))?;
        nanoseconds(|| take_and_give(&mut cpu, PAIRS)).map_err(|error| error.to_string())
    };
    let times = thread::scope(|scope| {
        let threads = [0, 1].map(|number| scope.spawn(move || work(number)));
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    });
    let [first, second] = times;
    Ok([(first? + second?) / (CPUS as u64 * PAIRS) as f64])
}

/// An allocator behind a lock that all CPUs share.
struct Locked<L>(L);

impl Shared for Locked<LockedFrameAllocator> {
    type Cpu<'a> = &'a LockedFrameAllocator;

    fn name() -> String {
        "buddy_system_allocator, locked".to_owned()
    }

    fn new(_: Arena) -> Result<Self> {
        let allocator = LockedFrameAllocator::new();
        allocator.lock().add_frame((FRAMES.start / PAGE) as usize, (FRAMES.end / PAGE) as usize);
        Ok(Self(allocator))
    }

    fn cpu(&self, _: usize) -> Self::Cpu<'_> {
        &self.0
    }
}

impl Blocks<Small> for &LockedFrameAllocator {
    type Block = usize;

    #[inline]
    fn take(&mut self) -> Option<usize> {
        self.lock().alloc(1)
    }

    #[inline]
    fn give(&mut self, block: usize) {
        self.lock().dealloc(block, 1);
    }
}

impl Shared for Locked<Mutex<FreeList>> {
    type Cpu<'a> = &'a Mutex<FreeList>;

    fn name() -> String {
        "free list behind spin::Mutex".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self(Mutex::new(FreeList::over(arena, FRAMES, PAGE))))
    }

    fn cpu(&self, _: usize) -> Self::Cpu<'_> {
        &self.0
    }
}

impl Blocks<Small> for &Mutex<FreeList> {
    type Block = u64;

    #[inline]
    fn take(&mut self) -> Option<u64> {
        self.lock().pop()
    }

    #[inline]
    fn give(&mut self, block: u64) {
        self.lock().push(block);
    }
}

/// Nothing but the lock: what any shared lock costs.
impl Shared for Locked<Mutex<()>> {
    type Cpu<'a> = &'a Mutex<()>;

    fn name() -> String {
        "spin::Mutex alone".to_owned()
    }

    fn new(_: Arena) -> Result<Self> {
        Ok(Self(Mutex::new(())))
    }

    fn cpu(&self, _: usize) -> Self::Cpu<'_> {
        &self.0
    }
}

impl Blocks<Small> for &Mutex<()> {
    type Block = ();

    #[inline]
    fn take(&mut self) -> Option<()> {
        drop(self.lock());
        Some(())
    }

    #[inline]
    fn give(&mut self, (): ()) {
        drop(self.lock());
    }
}
