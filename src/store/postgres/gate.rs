//! Who may use a connection next. Counts connections, and knows none of them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// What a waiter gets: leave to use a connection, or the reason why there is none.
type Answer = Result<Permit, Arc<str>>;

/// The connections of one group, and the queues of the classes that share it.
#[derive(Debug)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The most connections.
    size: usize,
    /// Open, and used by none.
    free: usize,
    /// Open, and used by the warming task.
    tested: usize,
    /// Being opened.
    opening: usize,
    /// On their way out: the server may still be at work for them.
    closing: usize,
    lanes: Vec<Lane>,
    /// The lane whose turn is next.
    turn: usize,
    tickets: u64,
    closed: bool,
}

#[derive(Debug)]
struct Lane {
    most: usize,
    held: usize,
    waiting: BTreeMap<u64, oneshot::Sender<Answer>>,
}

/// What a gate counts at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// Connections that are open or on their way out.
    pub(super) open: usize,
    /// Those that can be used, now or after another.
    pub(super) live: usize,
    pub(super) opening: usize,
}

/// Why there is no place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl Gate {
    /// A gate to at most `size` connections, of which each lane may use so many at one time.
    pub(super) fn new(size: usize, lanes: impl Iterator<Item = usize>) -> Arc<Self> {
        let lane = |most| Lane {
            most,
            held: 0,
            waiting: BTreeMap::new(),
        };
        Arc::new(Self(Mutex::new(State {
            size,
            free: 0,
            tested: 0,
            opening: 0,
            closing: 0,
            lanes: lanes.map(lane).collect(),
            turn: 0,
            tickets: 0,
            closed: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Takes a place in a lane, unless so many wait in it.
    pub(super) fn enter(self: &Arc<Self>, lane: usize, bound: usize) -> Result<Ticket, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.lanes[lane].waiting.len() > bound {
            return Err(Refused::Full);
        }
        let (sender, answer) = oneshot::channel();
        state.tickets += 1;
        let number = state.tickets;
        state.lanes[lane].waiting.insert(number, sender);
        state.grant(self);
        Ok(Ticket {
            gate: Arc::clone(self),
            lane,
            number,
            answer,
        })
    }

    /// How many connections are to be opened now for those who wait; they count as being opened from here on.
    pub(super) fn wanted(&self) -> usize {
        let mut state = self.lock();
        let lacking = |lane: &Lane| lane.waiting.len().min(lane.most.saturating_sub(lane.held));
        let waiting: usize = state.lanes.iter().map(lacking).sum();
        let wanted = waiting.saturating_sub(state.opening).min(state.room());
        state.opening += wanted;
        wanted
    }

    /// Whether one is to be opened although none waits, since none is open; it counts as being opened from here on.
    pub(super) fn wants_one_warm(&self) -> bool {
        let mut state = self.lock();
        let wants = state.live() + state.opening == 0 && state.room() > 0;
        state.opening += usize::from(wants);
        wants
    }

    /// A connection was opened.
    pub(super) fn opened(self: &Arc<Self>) {
        let mut state = self.lock();
        state.opening -= 1;
        state.free += 1;
        state.grant(self);
    }

    /// A connection could not be opened: without any other, those who wait are refused.
    pub(super) fn not_opened(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        state.opening -= 1;
        let refused = if state.live() == 0 {
            state.dismiss()
        } else {
            Vec::new()
        };
        drop(state);
        for waiter in refused {
            let _ = waiter.send(Err(Arc::clone(reason)));
        }
    }

    /// A connection that nobody uses or waits for, to look whether it still works.
    pub(super) fn take_idle(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.lock();
        let free = state.free.checked_sub(1)?;
        state.free = free;
        state.tested += 1;
        Some(Permit {
            gate: Arc::clone(self),
            lane: None,
            live: true,
        })
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            open: state.live() + state.closing,
            live: state.live(),
            opening: state.opening,
        }
    }

    /// How many statements of a lane have a connection, and how many wait for one.
    pub(super) fn lane(&self, lane: usize) -> (usize, usize) {
        let state = self.lock();
        (state.lanes[lane].held, state.lanes[lane].waiting.len())
    }

    /// Refuses those who wait, and those who come.
    pub(super) fn close(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        state.closed = true;
        let refused = state.dismiss();
        drop(state);
        for waiter in refused {
            let _ = waiter.send(Err(Arc::clone(reason)));
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

impl State {
    fn live(&self) -> usize {
        self.free + self.tested + self.lanes.iter().map(|lane| lane.held).sum::<usize>()
    }

    fn room(&self) -> usize {
        if self.closed {
            return 0;
        }
        self.size
            .saturating_sub(self.live() + self.opening + self.closing)
    }

    /// Gives free connections to those who wait. The lanes take turns, so a full one holds up no other.
    fn grant(&mut self, gate: &Arc<Gate>) {
        let lanes = self.lanes.len();
        while self.free > 0 {
            let next = (0..lanes).map(|step| (self.turn + step) % lanes).find(|at| {
                let lane = &self.lanes[*at];
                lane.held < lane.most && !lane.waiting.is_empty()
            });
            let Some(at) = next else { return };
            let Some((_, waiter)) = self.lanes[at].waiting.pop_first() else {
                return;
            };
            let permit = Permit {
                gate: Arc::clone(gate),
                lane: Some(at),
                live: true,
            };
            match waiter.send(Ok(permit)) {
                Ok(()) => {
                    self.free -= 1;
                    self.lanes[at].held += 1;
                    self.turn = (at + 1) % lanes;
                }
                // The waiter has left. The permit counts for nothing yet.
                Err(Ok(mut permit)) => permit.live = false,
                Err(Err(_)) => {}
            }
        }
    }

    fn dismiss(&mut self) -> Vec<oneshot::Sender<Answer>> {
        self.lanes
            .iter_mut()
            .flat_map(|lane| std::mem::take(&mut lane.waiting).into_values())
            .collect()
    }

    fn release(&mut self, lane: Option<usize>) {
        match lane {
            Some(at) => self.lanes[at].held -= 1,
            None => self.tested -= 1,
        }
    }
}

/// A place in a queue. It is given up with this.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    lane: usize,
    number: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Future for Ticket {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err("the store is closed".into())))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A permit that came meanwhile goes back with the channel, after this.
        self.gate.lock().lanes[self.lane].waiting.remove(&self.number);
    }
}

/// Leave to use one connection. It goes back to the gate with this.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    /// `None` for the warming task.
    lane: Option<usize>,
    live: bool,
}

impl Permit {
    /// The connection is gone.
    pub(super) fn retire(mut self) {
        self.live = false;
        self.gate.lock().release(self.lane);
    }

    /// The connection will be gone when the result is dropped; until then it counts.
    pub(super) fn close(mut self) -> Closing {
        self.live = false;
        let mut state = self.gate.lock();
        state.release(self.lane);
        state.closing += 1;
        drop(state);
        Closing(Some(Arc::clone(&self.gate)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.live {
            let mut state = self.gate.lock();
            state.release(self.lane);
            state.free += 1;
            state.grant(&self.gate);
        }
    }
}

/// A connection on its way out.
#[derive(Debug)]
pub(super) struct Closing(Option<Arc<Gate>>);

impl Closing {
    /// The connection stays.
    pub(super) fn reopen(mut self) {
        if let Some(gate) = self.0.take() {
            let mut state = gate.lock();
            state.closing -= 1;
            state.free += 1;
            state.grant(&gate);
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.lock().closing -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn granted(ticket: &mut Ticket) -> Option<Permit> {
        ticket.now_or_never().map(Result::unwrap)
    }

    #[test]
    fn lanes_take_turns() {
        let gate = Gate::new(1, [1, 1].into_iter());
        let mut busy: Vec<Ticket> = (0..3).map(|_| gate.enter(0, 9).unwrap()).collect();
        assert_eq!(gate.wanted(), 1);
        gate.opened();
        let first = granted(&mut busy[0]).unwrap();
        let mut other = gate.enter(1, 9).unwrap();

        drop(first);

        let second = granted(&mut other).unwrap();
        assert!(granted(&mut busy[1]).is_none());
        drop(second);
        assert!(granted(&mut busy[1]).is_some());
    }

    #[test]
    fn a_lane_leaves_connections_to_the_others() {
        let gate = Gate::new(2, [2, 1].into_iter());
        let mut searches: Vec<Ticket> = (0..2).map(|_| gate.enter(1, 9).unwrap()).collect();
        assert_eq!(gate.wanted(), 1);
        gate.opened();
        let _search = granted(&mut searches[0]).unwrap();
        let mut read = gate.enter(0, 9).unwrap();
        assert_eq!(gate.wanted(), 1);
        gate.opened();

        assert!(granted(&mut searches[1]).is_none());
        assert!(granted(&mut read).is_some());
    }

    #[test]
    fn a_permit_of_a_waiter_who_left_goes_to_the_next() {
        let gate = Gate::new(1, [1].into_iter());
        let left = gate.enter(0, 9).unwrap();
        let mut next = gate.enter(0, 9).unwrap();
        assert_eq!(gate.wanted(), 1);
        gate.opened();

        drop(left);

        assert!(granted(&mut next).is_some());
        assert_eq!(gate.lane(0).1, 0);
    }

    #[test]
    fn a_connection_on_its_way_out_takes_room() {
        let gate = Gate::new(1, [1].into_iter());
        let mut ticket = gate.enter(0, 9).unwrap();
        assert_eq!(gate.wanted(), 1);
        gate.opened();
        let closing = granted(&mut ticket).unwrap().close();
        let next = gate.enter(0, 9).unwrap();
        assert_eq!(gate.wanted(), 0);

        drop(closing);

        assert_eq!(gate.wanted(), 1);
        gate.not_opened(&"refused".into());
        assert!(matches!(next.now_or_never(), Some(Err(_))));
    }
}
