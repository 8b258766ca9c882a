//! Every state that a power loss may leave behind.
//!
//! The state is the durable one plus a subset of the pending units, applied in their order. Up to a limit (12 units:
//! 4,096 subsets) all subsets are tried. Beyond it: none, all, every prefix, every unit alone, every unit missing,
//! every split of the last write (its first or its last sectors, with and without what came before), and seeded random
//! subsets. States with equal names and bytes count once. An exhaustive run over small workloads follows Pillai et
//! al., "All File Systems Are Not Created Equal" (OSDI 2014), with sectors instead of system calls as the unit.
//!
//! The work is split by owner: the units of one file give that file's *variants*, the units of the directory give the
//! variants of the name table, and an image is one choice of each. A variant is built and hashed once, however many
//! images show it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::content::{Content, FileBytes, Hash128, next_random};
use super::disk::{Change, Disk, HoleFill, Inode, InodeNo, Names, rename};
use super::mem::{MemDir, hash_name};
use super::unit_mask::UnitMask;

/// How crash images are enumerated.
#[derive(Clone, Copy, Debug)]
pub struct CrashOptions {
    /// All subsets up to this many pending units.
    pub exhaustive_units: u32,
    /// Random subsets beyond that.
    pub random_subsets: u32,
    /// Seeds the random subsets.
    pub seed: u64,
    /// What unwritten parts show.
    pub fill: HoleFill,
}

impl Default for CrashOptions {
    fn default() -> Self {
        CrashOptions { exhaustive_units: 12, random_subsets: 64, seed: 1, fill: HoleFill::Zeros }
    }
}

/// Whose unit it is: a file (its place among the files) or the directory.
#[derive(Clone, Copy)]
enum Owner {
    File(usize),
    Directory,
}

/// One pending unit: its owner and its place among the owner's units.
#[derive(Clone, Copy)]
struct Pending {
    order: u64,
    call: u64,
    owner: Owner,
    local: usize,
    sector: bool,
}

/// Variants are kept for the images to share until they are this many bytes; later ones are built again when needed.
const KEPT_BYTES: u64 = 64 << 20;

/// A file's bytes with some of its units applied.
struct Variant {
    hash: u128,
    bytes: Option<Content>,
}

/// The distinct crash images of one moment.
pub struct CrashSet {
    base: Disk,
    fill: HoleFill,
    units: Vec<Pending>,
    /// Files with pending units; `Owner::File` counts in here.
    dirty: Vec<InodeNo>,
    variants: HashMap<(InodeNo, UnitMask), Variant>,
    /// Bytes of variants kept so far.
    kept_bytes: u64,
    tables: HashMap<UnitMask, Names>,
    images: Vec<(u128, UnitMask)>,
}

/// One image of a [`CrashSet`].
#[derive(Clone, Copy)]
pub struct CrashImage<'a> {
    set: &'a CrashSet,
    index: usize,
}

impl CrashImage<'_> {
    /// 128 bits over names and bytes, the same as [`MemDir::image_hash`] of the built image.
    pub fn hash(&self) -> u128 {
        self.set.images[self.index].0
    }

    /// The units that survived.
    pub fn mask(&self) -> &UnitMask {
        &self.set.images[self.index].1
    }

    /// Its number in the set.
    pub fn index(&self) -> usize {
        self.index
    }

    /// A fresh directory that holds this image and nothing else.
    pub fn build(&self) -> MemDir {
        self.set.build(self.index)
    }
}

impl fmt::Debug for CrashImage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image {} of {}, units {} of {}", self.index, self.set.len(), self.mask(), self.set.units.len())
    }
}

impl CrashSet {
    pub(super) fn new(base: Disk, options: &CrashOptions) -> CrashSet {
        let dirty: Vec<InodeNo> =
            base.inodes.iter().filter(|(_, inode)| !inode.pending.is_empty()).map(|(number, _)| *number).collect();
        let units = pending_units(&base, &dirty);
        let mut set = CrashSet {
            base,
            fill: options.fill,
            units,
            dirty,
            variants: HashMap::new(),
            kept_bytes: 0,
            tables: HashMap::new(),
            images: Vec::new(),
        };
        let mut seen = HashSet::new();
        for mask in set.masks(options) {
            let hash = set.hash(&mask);
            if seen.insert(hash) {
                set.images.push((hash, mask));
            }
        }
        set
    }

    /// How many distinct images there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Never: the state without any pending unit is always there.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// How many units were pending.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// The images, fewest units first for exhaustive sets.
    pub fn iter(&self) -> impl Iterator<Item = CrashImage<'_>> {
        (0..self.len()).map(|index| CrashImage { set: self, index })
    }

    /// A fresh directory that holds image `index`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn build(&self, index: usize) -> MemDir {
        self.build_mask(&self.images[index].1)
    }

    /// A fresh directory with exactly these pending units applied: the way to repeat a reported failure.
    pub fn build_mask(&self, mask: &UnitMask) -> MemDir {
        let (files, directory) = self.split(mask);
        let names = match self.tables.get(&directory) {
            Some(names) => names.clone(),
            None => self.name_table(&directory),
        };
        let mut disk = Disk {
            live: names.clone(),
            foreign: self.base.foreign.clone(),
            retired: self.base.retired.clone(),
            seed: self.base.seed,
            nonces: self.base.nonces,
            next_inode: self.base.next_inode,
            capacity: self.base.capacity,
            ..Disk::default()
        };
        for number in names.values() {
            let Some(inode) = self.base.inodes.get(number) else { continue };
            let bytes = match self.dirty.binary_search(number) {
                Err(_) => inode.durable.clone(),
                Ok(at) => match self.variants.get(&(*number, files[at].clone())) {
                    Some(Variant { bytes: Some(bytes), .. }) => bytes.clone(),
                    _ => self.variant(inode, &files[at]),
                },
            };
            let fresh = Inode {
                sealed: inode.sealed,
                special: inode.special,
                unreadable: inode.unreadable.clone(),
                ..Inode::new(inode.kind, bytes)
            };
            disk.inodes.insert(*number, fresh);
        }
        disk.durable = names;
        MemDir::from_disk(disk)
    }

    /// The parts of a mask that belong to each dirty file and to the directory.
    fn split(&self, mask: &UnitMask) -> (Vec<UnitMask>, UnitMask) {
        let mut files = vec![UnitMask::default(); self.dirty.len()];
        let mut directory = UnitMask::default();
        for unit in mask.iter().filter_map(|unit| self.units.get(unit)) {
            match unit.owner {
                Owner::File(at) => files[at].insert(unit.local),
                Owner::Directory => directory.insert(unit.local),
            }
        }
        (files, directory)
    }

    fn hash(&mut self, mask: &UnitMask) -> u128 {
        let (mut files, directory) = self.split(mask);
        if !self.tables.contains_key(&directory) {
            let names = self.name_table(&directory);
            self.tables.insert(directory.clone(), names);
        }
        let mut hash = Hash128::new();
        for (name, number) in &self.tables[&directory] {
            let Some(inode) = self.base.inodes.get(number) else { continue };
            hash_name(&mut hash, *name);
            let Ok(at) = self.dirty.binary_search(number) else {
                hash.wide(inode.durable.hash());
                continue;
            };
            let key = (*number, std::mem::take(&mut files[at]));
            if let Some(variant) = self.variants.get(&key) {
                hash.wide(variant.hash);
                continue;
            }
            let bytes = self.variant(inode, &key.1);
            hash.wide(bytes.hash());
            self.kept_bytes += bytes.len();
            let keep = self.kept_bytes <= KEPT_BYTES;
            self.variants.insert(key, Variant { hash: bytes.hash(), bytes: keep.then_some(bytes) });
        }
        hash.finish()
    }

    fn variant(&self, inode: &Inode, mask: &UnitMask) -> Content {
        let mut bytes = inode.durable.as_slice().to_vec();
        for unit in mask.iter() {
            let fill = |hole: &mut [u8], at| self.base.fill_hole(self.fill, inode.kind, hole, at);
            inode.pending[unit].change.apply(&mut bytes, fill);
        }
        FileBytes::content(bytes)
    }

    fn name_table(&self, mask: &UnitMask) -> Names {
        let mut names = self.base.durable.clone();
        mask.iter().for_each(|unit| rename(&mut names, self.base.pending[unit].change));
        names
    }

    fn masks(&self, options: &CrashOptions) -> Vec<UnitMask> {
        let count = self.units.len();
        if count <= options.exhaustive_units.min(24) as usize {
            let mut subsets: Vec<u64> = (0..1u64 << count).collect();
            subsets.sort_by_key(|bits| bits.count_ones());
            return subsets.into_iter().map(UnitMask::from_bits).collect();
        }
        let mut masks: Vec<UnitMask> = (0..=count).map(|end| UnitMask::range(0..end)).collect();
        masks.extend((0..count).map(|unit| UnitMask::range(unit..unit + 1)));
        masks.extend((0..count).map(|unit| {
            let mut mask = UnitMask::range(0..count);
            mask.remove(unit);
            mask
        }));
        masks.extend(self.last_write_splits());
        let mut state = options.seed;
        masks.extend((0..options.random_subsets).map(|_| random_mask(count, &mut state)));
        masks
    }

    /// The first and the last sectors of the latest write, each way to cut it, on top of nothing and of all before.
    fn last_write_splits(&self) -> Vec<UnitMask> {
        let Some(call) = self.units.iter().filter(|unit| unit.sector).map(|unit| unit.call).max() else {
            return Vec::new();
        };
        let start = self.units.iter().position(|unit| unit.call == call).unwrap_or(0);
        let count = self.units.iter().filter(|unit| unit.call == call).count();
        let mut masks = Vec::new();
        for cut in 0..=count {
            masks.push(UnitMask::range(start..start + cut));
            masks.push(UnitMask::range(start + cut..start + count));
            let mut tail = UnitMask::range(0..start);
            (start + cut..start + count).for_each(|unit| tail.insert(unit));
            masks.push(tail);
        }
        masks
    }
}

fn random_mask(count: usize, state: &mut u64) -> UnitMask {
    let mut mask = UnitMask::default();
    // Three densities, so that nearly empty and nearly full subsets come up too.
    let share = [1, 4, 7][(next_random(state) % 3) as usize];
    for unit in 0..count {
        if next_random(state) % 8 < share {
            mask.insert(unit);
        }
    }
    mask
}

fn pending_units(base: &Disk, dirty: &[InodeNo]) -> Vec<Pending> {
    let mut units = Vec::new();
    for (at, number) in dirty.iter().enumerate() {
        let pending = base.inodes.get(number).map_or(&[][..], |inode| &inode.pending);
        units.extend(pending.iter().enumerate().map(|(local, unit)| Pending {
            order: unit.order,
            call: unit.call,
            owner: Owner::File(at),
            local,
            sector: matches!(unit.change, Change::Sector { .. }),
        }));
    }
    units.extend(base.pending.iter().enumerate().map(|(local, unit)| Pending {
        order: unit.order,
        call: unit.call,
        owner: Owner::Directory,
        local,
        sector: false,
    }));
    units.sort_by_key(|unit| unit.order);
    units
}

#[cfg(test)]
#[path = "tests/crash.rs"]
mod tests;
