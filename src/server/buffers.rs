//! Buffers that are used again, for a request's body and for its answer. A connection stays on one
//! thread, and kube-scheduler waits for each answer, so its next request finds the buffers of the last.

use std::cell::RefCell;

use crate::threads::LARGE_JSON;

/// How many buffers a thread keeps: that of a body and that of an answer.
const MAX_SPARE: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Keeps a buffer for the next [`take`] on this thread, unless it is large.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if (1..=LARGE_JSON).contains(&buffer.capacity()) {
        buffer.clear();
        // A thread that ends may drop an answer after its spare buffers.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MAX_SPARE {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_buffers_are_used_again_and_large_ones_are_not() {
        let of = |size: usize| Vec::with_capacity(size);
        give_back(of(LARGE_JSON + 1));
        assert_eq!(take().capacity(), 0);
        give_back(Vec::new());
        for size in [LARGE_JSON, 200, 300] {
            let mut buffer = of(size);
            buffer.push(1);
            give_back(buffer);
        }
        let taken = [take(), take(), take()];
        assert!(taken.iter().all(Vec::is_empty));
        assert_eq!(taken.map(|it| it.capacity()), [200, LARGE_JSON, 0]);
    }
}
