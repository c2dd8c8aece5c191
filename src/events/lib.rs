//! Following the journal: from a moment or a number on, to an end or for ever, some events or all.
//!
//! What is new is what has a number above the newest when the stream began; times decide only about what
//! is old, for clocks are set.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::{Error, Filters, Kind, NumberedEvent, Result, Timestamp};
use rules::EventFilter;
use state::{Batch, Journal};

/// From where to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsFrom {
    /// What comes.
    Now,
    /// What happened at this time or after it, as far as it is kept, then what comes.
    Time(Timestamp),
    /// What has a greater number, then what comes.
    Number(u64),
}

/// What is to be followed.
#[derive(Debug, Clone)]
pub struct EventsRequest {
    /// Where it begins.
    pub from: EventsFrom,
    /// Where it ends; one in the past ends the stream at what there is now.
    pub until: Option<Timestamp>,
    /// Only some.
    pub filters: Filters,
}

/// Events being followed.
#[derive(Debug)]
pub struct EventStream {
    journal: Journal,
    filter: EventFilter,
    /// The number to go on after.
    position: u64,
    /// It was asked for what comes after a number: then nothing may be left out.
    by_number: bool,
    /// The number of the newest event when this began: what comes later is new.
    began_at: u64,
    since: Option<Timestamp>,
    until: Option<Until>,
    waiting: VecDeque<Arc<NumberedEvent>>,
    /// One of those that are counted.
    _listener: Arc<()>,
}

#[derive(Debug)]
struct Until {
    time: Timestamp,
    /// When it will be; `None` when it was before this began.
    at: Option<tokio::time::Instant>,
}

impl EventStream {
    /// Begins to follow the events of `journal`: nothing that happens after this returns is missed.
    /// `listener` is dropped with it.
    ///
    /// # Errors
    /// Bad filters; a number that no event has yet; [`model::Kind::Gone`] for a number up to which
    /// events are kept no more.
    pub async fn begin(
        journal: Journal,
        request: EventsRequest,
        now: Timestamp,
        listener: Arc<()>,
    ) -> Result<Self> {
        let filter = EventFilter::new(request.filters)?;
        let began_at = journal.newest();
        let (position, since) = match (request.from, request.until) {
            (EventsFrom::Now, None) => (began_at, None),
            // Docker tells what was before an end that it is given.
            (EventsFrom::Now, Some(_)) => (journal.dropped(), None),
            (EventsFrom::Time(since), _) => (journal.dropped(), Some(since)),
            (EventsFrom::Number(number), _) => (number, None),
        };
        let by_number = matches!(request.from, EventsFrom::Number(_));
        if let EventsFrom::Number(number) = request.from
            && number > began_at
        {
            // Of another ledger, perhaps: who waits for it would miss all before.
            return Err(Error::invalid(format!(
                "there is no event {number} yet: the newest is {began_at}"
            )));
        }
        // Who asks for a number is told at once that it is too old.
        let first = match by_number {
            true => journal.after(position).await?,
            false => Batch {
                events: Vec::new(),
                up_to: position,
            },
        };
        let until = request.until.map(|time| Until {
            time,
            at: Duration::try_from(time.duration_since(now))
                .ok()
                .and_then(|left| tokio::time::Instant::now().checked_add(left)),
        });
        Ok(Self {
            journal,
            filter,
            position: first.up_to,
            by_number,
            began_at,
            since,
            until,
            waiting: first.events.into(),
            _listener: listener,
        })
    }

    /// The number of the newest event when this began.
    pub fn began_at(&self) -> u64 {
        self.began_at
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// [`model::Kind::Gone`] when so much happened that the next one is kept no more.
    pub async fn next(&mut self) -> Option<Result<Arc<NumberedEvent>>> {
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if self.is_beyond_the_end(&event) {
                    return None;
                }
                if self.selects(&event) {
                    return Some(Ok(event));
                }
            }
            let batch = match self.journal.after(self.position).await {
                Ok(batch) => batch,
                // Old ones are told as far as they are kept.
                Err(e) if e.kind() == Kind::Gone && self.is_in_the_past() => {
                    self.position = self.journal.dropped();
                    continue;
                }
                Err(e) => return Some(Err(e)),
            };
            if batch.up_to > self.position {
                self.position = batch.up_to;
                self.waiting.extend(batch.events);
                continue;
            }
            let journal = &self.journal;
            let grown = journal.grown_beyond(self.position);
            match self.until.as_ref().map(|until| until.at) {
                None => grown.await,
                Some(None) => return None,
                Some(Some(end)) => tokio::select! {
                    biased;
                    () = grown => {}
                    () = tokio::time::sleep_until(end) => return None,
                },
            }
        }
    }

    /// It was asked for by time, and is not yet at what was there when it began.
    fn is_in_the_past(&self) -> bool {
        !self.by_number && self.position < self.began_at
    }

    /// Something new that happened after the end that was asked for.
    fn is_beyond_the_end(&self, numbered: &NumberedEvent) -> bool {
        let is_new = numbered.number > self.began_at;
        is_new
            && self
                .until
                .as_ref()
                .is_some_and(|until| numbered.event.at > until.time)
    }

    fn selects(&self, numbered: &NumberedEvent) -> bool {
        let NumberedEvent { number, event } = numbered;
        let is_old = *number <= self.began_at;
        let too_early = is_old && self.since.is_some_and(|since| event.at < since);
        let too_late = is_old && self.until.as_ref().is_some_and(|u| event.at > u.time);
        let is_past = self.until.as_ref().is_some_and(|until| until.at.is_none());
        !too_early && !too_late && (is_old || !is_past) && self.filter.selects(event)
    }
}
