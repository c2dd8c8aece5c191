//! `GET /events`, and the same by number.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use engine::{Engine, EventStream, EventsFrom, EventsRequest};
use futures_util::stream;
use model::{Error, NumberedEvent};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::event::{EventMessage, NumberedEventMessage};

use web::error::ApiResult;
use web::extract::{Query, filters, integer, timestamp};
use web::reply;

/// Tells a follower where the stream begins, before there is an event.
const NUMBER: HeaderName = HeaderName::from_static("moored-event-number");

/// The routes.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(numbered))
}

/// The query of events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct EventsQuery {
    /// What happened since then, first: unix seconds with an optional fraction.
    since: Option<String>,
    /// Until then: unix seconds with an optional fraction. In the past, the stream ends at once.
    until: Option<String>,
    /// Only some: `config`, `container`, `daemon`, `event`, `image`, `label`, `network`, `node`,
    /// `plugin`, `scope`, `secret`, `service`, `type`, `volume`.
    filters: Option<String>,
}

impl EventsQuery {
    fn translate(&self) -> model::Result<EventsRequest> {
        let (since, until) = (
            timestamp(self.since.as_deref())?,
            timestamp(self.until.as_deref())?,
        );
        if let (Some(from), Some(to)) = (since, until)
            && to < from
        {
            let shown = |text: &Option<String>| text.clone().unwrap_or_default();
            return Err(Error::invalid(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                shown(&self.since),
                shown(&self.until)
            )));
        }
        Ok(EventsRequest {
            from: since.map_or(EventsFrom::Now, EventsFrom::Time),
            until,
            filters: filters(self.filters.as_deref())?,
        })
    }
}

/// Follow events
///
/// One JSON object a line, from now on; with `since` or `until` first what was before, as far as
/// it is kept (64 MiB). A follower that is slow misses none. `Moored-Event-Number` in the head is
/// the number of the newest event when the stream began; see `/moored/events`.
#[utoipa::path(get, path = "/events", operation_id = "SystemEvents", tag = "System",
    params(EventsQuery),
    responses(
        (status = 200, description = "The events", body = EventMessage,
            headers(("Moored-Event-Number" = u64, description = "Of the newest event"))),
        (status = 400, description = "Bad filters or times", body = ErrorResponse),
    ))]
async fn events(State(engine): State<Engine>, Query(query): Query<EventsQuery>) -> ApiResult {
    let events = engine.events(query.translate()?).await?;
    Ok(answer(events, |event| {
        reply::json_line(&EventMessage::from(event))
    }))
}

/// The query of numbered events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct NumberedQuery {
    /// The number of the last event that the client has: it gets what comes after it. Without it,
    /// what comes from now on.
    #[param(value_type = u64, required = false)]
    since: Option<String>,
    /// Until then: unix seconds with an optional fraction. In the past, the stream ends at once.
    until: Option<String>,
    /// Only some, as in `/events`.
    filters: Option<String>,
}

impl NumberedQuery {
    fn translate(&self) -> model::Result<EventsRequest> {
        let since = integer(self.since.as_deref())?.map(|since| {
            let negative = |_| Error::invalid(format!("invalid event number: {since}"));
            u64::try_from(since).map_err(negative)
        });
        Ok(EventsRequest {
            from: since
                .transpose()?
                .map_or(EventsFrom::Now, EventsFrom::Number),
            until: timestamp(self.until.as_deref())?,
            filters: filters(self.filters.as_deref())?,
        })
    }
}

/// Follow events by their number
///
/// As `/events`, with the `number` of each: a client that was away asks for what comes after the
/// last one it has, also of a daemon that was restarted meanwhile, and misses none and gets none
/// twice. Events are kept up to 64 MiB; when the next one is kept no more the answer is 410, and
/// a stream that has begun breaks off. Not Docker's.
#[utoipa::path(get, path = "/moored/events", operation_id = "MooredEvents", tag = "System",
    params(NumberedQuery),
    responses(
        (status = 200, description = "The events", body = NumberedEventMessage,
            headers(("Moored-Event-Number" = u64, description = "Of the newest event"))),
        (status = 400, description = "Bad filters, time or number", body = ErrorResponse),
        (status = 410, description = "The next event is kept no more", body = ErrorResponse),
    ))]
async fn numbered(State(engine): State<Engine>, Query(query): Query<NumberedQuery>) -> ApiResult {
    let events = engine.events(query.translate()?).await?;
    Ok(answer(events, |event| {
        reply::json_line(&NumberedEventMessage::from(event))
    }))
}

fn answer(events: EventStream, spell: fn(&NumberedEvent) -> Bytes) -> Response {
    let number = HeaderValue::from(events.began_at());
    let lines = stream::unfold(events, move |mut events| async move {
        let next = events.next().await?;
        if let Err(error) = &next {
            // The body breaks off: a client must not take it for the end.
            tracing::warn!(%error, "a follower of events lost its place");
        }
        Some((next.map(|event| spell(&event)), events))
    });
    let mut answer = Response::new(Body::from_stream(lines));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(NUMBER, number);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_the_beginning_is_refused_in_dockers_words() {
        let query = EventsQuery {
            since: Some("5".to_owned()),
            until: Some("3.5".to_owned()),
            filters: None,
        };
        assert_eq!(
            query.translate().unwrap_err().message(),
            "`since` time (5) cannot be after `until` time (3.5)"
        );
    }

    #[test]
    fn a_number_is_one() {
        let since = |text: &str| {
            let query = NumberedQuery {
                since: Some(text.to_owned()),
                ..NumberedQuery::default()
            };
            query.translate().map(|request| request.from)
        };
        assert_eq!(since("7").unwrap(), EventsFrom::Number(7));
        assert_eq!(since("0").unwrap(), EventsFrom::Number(0));
        assert_eq!(since("").unwrap(), EventsFrom::Now);
        assert!(since("-1").is_err());
        assert!(since("x").is_err());
    }
}
