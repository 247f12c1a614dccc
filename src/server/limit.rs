//! Limits on connections: how many there may be, and how long a client may leave an answer unread.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

/// How long a client may read nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is read from a socket at once. TLS by itself asks the system for 4 KiB at a time, which costs
/// a request of kube-scheduler several calls.
const READ_SIZE: usize = 32 << 10;

/// Accepts a limited number of connections, at most half of them from one address. If all are taken, a
/// client with few of them gets the place of the one that was least recently used of the address that has
/// the most, so that nobody keeps others out. Closes a connection whose client stops reading an answer,
/// since the answer holds memory until it is written.
#[derive(Clone)]
pub(super) struct Limited(Arc<Limit>);

struct Limit {
    most: usize,
    open: Mutex<Open>,
    /// The number of requests so far.
    requests: AtomicU64,
}

#[derive(Default)]
struct Open {
    /// The connections from each address, without empty lists.
    of: HashMap<IpAddr, Vec<Arc<Seat>>>,
    /// Whether the log says that there are too many.
    is_told: bool,
}

/// The place of one connection.
#[derive(Default)]
struct Seat {
    /// The number of the last request, or of the one before the connection came.
    used: AtomicU64,
    /// Whether it was given to another connection.
    is_lost: AtomicBool,
    /// Wakes the connection when its seat is lost.
    waker: AtomicWaker,
}

impl Open {
    fn total(&self) -> usize {
        self.of.values().map(Vec::len).sum()
    }

    /// Ends a connection of the address that has the most, if it has at least two more than `own`.
    fn make_room(&mut self, own: usize) -> bool {
        let most = self.of.values_mut().max_by_key(|seats| seats.len());
        let Some(seats) = most.filter(|seats| seats.len() > own + 1) else { return false };
        let used = |seat: &Seat| seat.used.load(Ordering::Relaxed);
        let least = (0..seats.len()).min_by_key(|at| seats.get(*at).map(|seat| used(seat)));
        let Some(seat) = least.map(|at| seats.swap_remove(at)) else { return false };
        seat.is_lost.store(true, Ordering::Release);
        seat.waker.wake();
        true
    }
}

impl Limited {
    pub fn to(most: usize) -> Self {
        Self(Arc::new(Limit { most, open: Mutex::default(), requests: AtomicU64::new(0) }))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection from this address, unless there are too many.
    fn permit(&self, address: IpAddr) -> Option<Permit> {
        let mut open = self.open();
        let own = open.of.get(&address).map_or(0, Vec::len);
        let has_half = own >= self.0.most / 2;
        let is_full = open.total() >= self.0.most;
        if (has_half || is_full) && !std::mem::replace(&mut open.is_told, true) {
            tracing::warn!(
                %address,
                from_it = own,
                "a connection was closed: too many connections are open"
            );
        }
        if has_half || (is_full && !open.make_room(own)) {
            return None;
        }
        let used = AtomicU64::new(self.0.requests.load(Ordering::Relaxed));
        let seat = Arc::new(Seat { used, ..Seat::default() });
        open.of.entry(address).or_default().push(seat.clone());
        Some(Permit { limited: self.clone(), address, seat })
    }
}

/// A connection that is counted until this is dropped.
struct Permit {
    limited: Limited,
    address: IpAddr,
    seat: Arc<Seat>,
}

impl Permit {
    /// Notes that a request was made.
    fn used(&self) {
        let number = self.limited.0.requests.fetch_add(1, Ordering::Relaxed);
        self.seat.used.store(number + 1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limited.open();
        if let Some(seats) = open.of.get_mut(&self.address) {
            seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
            if seats.is_empty() {
                open.of.remove(&self.address);
            }
        }
        // Once there is room again, the next time is told again.
        if open.total() < self.limited.0.most / 4 {
            open.is_told = false;
        }
    }
}

/// The service of a connection, which counts against the limit until this is dropped.
#[derive(Clone)]
pub(super) struct Permitted<S> {
    service: S,
    permit: Arc<Permit>,
}

impl<S: Service<R>, R> Service<R> for Permitted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.permit.used();
        self.service.call(request)
    }
}

/// A connection, which ends when its seat is lost.
pub(super) struct Seated {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    seat: Arc<Seat>,
}

impl Seated {
    /// The stream, unless the seat is lost. The task is woken when it is.
    fn stream(&mut self, context: &Context<'_>) -> io::Result<Pin<&mut TimeoutStream<TcpStream>>> {
        self.seat.waker.register(context.waker());
        if self.seat.is_lost.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(self.stream.as_mut())
    }
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream(context)?.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = BufReader<Seated>;
    type Service = Permitted<S>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let prepared = || {
            // A socket of both families shows IPv4 addresses within IPv6.
            let permit = self.permit(stream.peer_addr()?.ip().to_canonical());
            let permit = permit.ok_or_else(|| io::Error::other("too many connections"))?;
            stream.set_nodelay(true)?;
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(WRITE_TIMEOUT));
            let seated = Seated { stream: Box::pin(stream), seat: permit.seat.clone() };
            let stream = BufReader::with_capacity(READ_SIZE, seated);
            Ok((stream, Permitted { service, permit: Arc::new(permit) }))
        };
        ready(prepared())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some connections from an address.
    fn taken(limited: &Limited, address: u8, count: usize) -> Vec<Permit> {
        (0..count).filter_map(|_| limited.permit([10, 0, 0, address].into())).collect()
    }

    fn lost(permits: &[Permit]) -> Vec<bool> {
        permits.iter().map(|permit| permit.seat.is_lost.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn one_address_has_half_of_the_connections() {
        let limited = Limited::to(4);
        let first = taken(&limited, 1, 3);
        assert_eq!(first.len(), 2);
        assert_eq!(lost(&first), [false, false]);
        drop(first);
        assert!(limited.open().of.is_empty());
    }

    #[test]
    fn who_has_few_connections_gets_one_of_who_has_many_and_is_used_least() {
        let limited = Limited::to(6);
        let many = taken(&limited, 1, 3);
        let mut others = taken(&limited, 2, 2);
        others.extend(taken(&limited, 3, 1));
        many[0].used();
        many[2].used();
        let new = taken(&limited, 4, 1);
        assert_eq!((new.len(), lost(&many)), (1, vec![false, true, false]));
        // Now nobody has two more than this address would take them from.
        assert_eq!(taken(&limited, 4, 1).len(), 0);
        assert_eq!(lost(&others), [false; 3]);
        // Who has none still gets one of two.
        let newest = taken(&limited, 5, 1);
        assert_eq!(newest.len(), 1);
        assert_eq!(limited.open().total(), 6);
        drop((many, others, new, newest));
        assert!(limited.open().of.is_empty(), "a lost seat counts no more");
    }
}
