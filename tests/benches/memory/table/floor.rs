//! The least a table costs. Runs are loops over leaf nodes that happen to follow each other; single pages and lookups are
//! walks of four levels by hand; the release gives each node back to a free list.

use super::tracked::Tracked;
use super::{Done, ENTRIES, PageTable, REGION, REGION_PAGES, Refused};
use crate::Result;
use crate::arena::{Arena, FRAMES, NODES, PAGE};
use crate::free_list::FreeList;

const PRESENT: u64 = 1;
/// Present, writable, not executable.
const LEAF: u64 = PRESENT | 1 << 1 | 1 << 63;
/// Present, writable.
const TABLE: u64 = PRESENT | 1 << 1;
/// Where an entry keeps the physical address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The hand-written table. Its nodes are made when the first page is mapped.
pub(super) struct Floor {
    arena: Arena,
    frames: FreeList,
    /// Physical addresses of root and page-directory-pointer table, page directory, and the first of the leaf nodes.
    nodes: Option<[u64; 4]>,
}

impl Floor {
    /// Makes all nodes of the region. The list hands frames out in order, so the leaf nodes follow each other.
    #[cold]
    fn make_nodes(&mut self) -> Option<[u64; 4]> {
        let mut node = |arena: Arena| {
            let phys = self.frames.pop()?;
            // SAFETY: the frame is one of the arena's, and was handed out for this.
            unsafe { arena.pointer(phys).write_bytes(0, ENTRIES as usize) };
            Some(phys)
        };
        let (root, pointers, directory) = (node(self.arena)?, node(self.arena)?, node(self.arena)?);
        let first_leaf = node(self.arena)?;
        for index in 1..ENTRIES {
            (node(self.arena)? == first_leaf + index * PAGE).then_some(())?;
        }
        self.store(root + index_of(REGION, 39) * 8, pointers | TABLE);
        self.store(pointers + index_of(REGION, 30) * 8, directory | TABLE);
        for index in 0..ENTRIES {
            self.store(directory + index * 8, (first_leaf + index * PAGE) | TABLE);
        }
        self.nodes = Some([root, pointers, directory, first_leaf]);
        self.nodes
    }

    /// Physical address of the entry of a page, leaf nodes taken for one array.
    #[inline]
    fn entries_from(&mut self, operation: &'static str, page: u64) -> Done<u64> {
        let nodes = if self.nodes.is_some() { self.nodes } else { self.make_nodes() };
        let [.., first_leaf] = nodes.ok_or(Refused { operation, page })?;
        Ok(first_leaf + page * 8)
    }

    /// Walks to the entry of a page, by what the nodes say.
    #[inline]
    fn walk(&self, page: u64) -> Option<u64> {
        let virt = REGION + page * PAGE;
        let [root, ..] = self.nodes?;
        let mut node = root;
        for shift in [39, 30, 21] {
            let entry = self.load(node + index_of(virt, shift) * 8);
            (entry & PRESENT != 0).then_some(())?;
            node = entry & ADDRESS;
        }
        Some(node + index_of(virt, 12) * 8)
    }

    /// One load, as the hardware's walk makes them: not to be merged with others.
    #[inline]
    fn load(&self, entry: u64) -> u64 {
        // SAFETY: entries are words of nodes, which lie in the arena and belong to this table.
        unsafe { self.arena.pointer(entry).read_volatile() }
    }

    /// One store, seen by the hardware's walk: not to be merged with others.
    #[inline]
    fn store(&mut self, entry: u64, value: u64) {
        // SAFETY: as in `load`; and `&mut self` keeps others away.
        unsafe { self.arena.pointer(entry).write_volatile(value) }
    }
}

#[inline]
fn index_of(virt: u64, shift: u32) -> u64 {
    (virt >> shift) % ENTRIES
}

impl PageTable for Floor {
    fn name() -> String {
        "by hand".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self { arena, frames: FreeList::over(arena, NODES, PAGE), nodes: None })
    }

    #[inline]
    fn map_run(&mut self, page: u64, pages: u64, phys: u64) -> Done {
        let entries = self.entries_from("mapped", page)?;
        for index in 0..pages {
            self.store(entries + index * 8, (phys + index * PAGE) | LEAF);
        }
        Ok(())
    }

    #[inline]
    fn unmap_run(&mut self, page: u64, pages: u64) -> Done {
        let entries = self.entries_from("unmapped", page)?;
        for index in 0..pages {
            self.store(entries + index * 8, 0);
        }
        Ok(())
    }

    #[inline]
    fn map_page(&mut self, page: u64, phys: u64) -> Done {
        let refused = Refused { operation: "mapped", page };
        if self.nodes.is_none() && self.make_nodes().is_none() {
            return Err(refused);
        }
        let entry = self.walk(page).ok_or(refused)?;
        self.store(entry, phys | LEAF);
        Ok(())
    }

    #[inline]
    fn unmap_page(&mut self, page: u64) -> Done {
        let entry = self.walk(page).ok_or(Refused { operation: "unmapped", page })?;
        self.store(entry, 0);
        Ok(())
    }

    #[inline]
    fn lookup(&self, page: u64) -> Option<u64> {
        let entry = self.load(self.walk(page)?);
        (entry & PRESENT != 0).then_some(entry & ADDRESS)
    }

    fn release(&mut self) -> Done {
        let refused = Refused { operation: "released", page: REGION_PAGES };
        let [root, pointers, directory, _] = self.nodes.take().ok_or(refused)?;
        for index in 0..ENTRIES {
            let leaf_node = self.load(directory + index * 8) & ADDRESS;
            self.frames.push(leaf_node);
        }
        for node in [directory, pointers, root] {
            self.frames.push(node);
        }
        Ok(())
    }
}

/// The least that owning what is mapped costs: runs of 512 frames on a stack, found again by looking at each entry.
pub(super) struct RunsOnStack {
    table: Floor,
    /// First frames of free runs.
    free: Vec<u64>,
}

impl Tracked for RunsOnStack {
    fn name() -> String {
        "runs of 512 on a stack".to_owned()
    }

    fn new(arena: Arena) -> Result<Self> {
        let free = FRAMES.step_by((ENTRIES * PAGE) as usize).collect();
        Ok(Self { table: Floor::new(arena)?, free })
    }

    #[inline]
    fn map(&mut self, page: u64, pages: u64) -> Done {
        for page in (page..page + pages).step_by(ENTRIES as usize) {
            let run = self.free.pop().ok_or(Refused { operation: "mapped", page })?;
            self.table.map_run(page, ENTRIES, run)?;
        }
        Ok(())
    }

    #[inline]
    fn unmap(&mut self, page: u64, pages: u64) -> Done {
        for page in (page..page + pages).step_by(ENTRIES as usize) {
            let entries = self.table.entries_from("unmapped", page)?;
            let run = self.table.load(entries) & ADDRESS;
            for index in 0..ENTRIES {
                if self.table.load(entries + index * 8) & ADDRESS != run + index * PAGE {
                    return Err(Refused { operation: "unmapped", page: page + index });
                }
                self.table.store(entries + index * 8, 0);
            }
            self.free.push(run);
        }
        Ok(())
    }

    fn lookup(&self, page: u64) -> Option<u64> {
        self.table.lookup(page)
    }
}
