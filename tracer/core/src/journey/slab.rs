//! Values that stay in place, with 32-bit numbers.

/// Number of values that one page holds.
const PAGE: usize = 512;

/// Values, each in its own slot until it is removed. Values never move: new pages are added, and a
/// removed value leaves its slot to the next one.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    pages: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Whether all slots are free.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of values that the allocated pages hold.
    pub(super) fn slots(&self) -> usize {
        self.pages.iter().map(Vec::len).sum()
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.slots() - self.free.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let (page, at) = place(slot);
        self.pages.get(page)?.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let (page, at) = place(slot);
        self.pages.get_mut(page)?.get_mut(at)?.as_mut()
    }

    /// The slot that the next inserted value gets.
    pub(super) fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or_else(|| {
            let full = self.pages.len().saturating_sub(1) * PAGE;
            let slots = self.pages.last().map_or(0, |page| full + page.len());
            u32::try_from(slots).expect("memory has fewer")
        })
    }

    /// Inserts a value. Returns its slot.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            let (page, at) = place(slot);
            self.pages[page][at] = Some(value);
            return slot;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let pages = self.pages.len();
        let page = &mut self.pages[pages - 1];
        page.push(Some(value));
        let slot = (pages - 1) * PAGE + page.len() - 1;
        u32::try_from(slot).expect("memory has fewer")
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let (page, at) = place(slot);
        let value = self.pages.get_mut(page)?.get_mut(at)?.take()?;
        self.free.push(slot);
        Some(value)
    }
}

const fn place(slot: u32) -> (usize, usize) {
    (slot as usize / PAGE, slot as usize % PAGE)
}
