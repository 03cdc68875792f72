"""
Where a log is incomplete: questions in SQL, each of which gives the gaps of one kind.

Every question reads `events` (all stages) and gives rows of `first, last, source, count, what`. What a log cannot tell
is not guessed: a quiet source may have had nothing to say, so silence counts only beyond a length that the user names.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; numbers and names of our own go into it
from dataclasses import dataclass
from datetime import datetime

from kubewitness.event.fields import FIELDS

OPERATOR_KINDS = ("start", "stop", "refuse", "resume")


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap: of what kind, from when to when, in which source, how many Events it is about, and what it means."""

    kind: str
    first: datetime | None
    last: datetime | None
    source: str | None
    count: int | None
    what: str


_SUFFIX = r"(\.(?:log|json|jsonl|ndjson))"
_DATE = r"\d{4}-?\d{2}-?\d{2}(?:[T_-][\d:.-]*\d)?Z?"
_LOG = f"""regexp_replace(regexp_replace(regexp_replace(source,
       '\\.(gz|zst|zstd)$', ''), '{_SUFFIX}[.-]\\d[\\d.:TZ_-]*$', '\\1'), '[-_.]?{_DATE}{_SUFFIX}$', '\\1')"""
"""The log that a rotated file was, by its name: audit-2026-11-23T03-11-14.360.log.gz and audit.log.1 were audit.log."""


def silence(seconds: int) -> str:
    """Ask for stretches of a source without any Event, longer than this; one that goes on to the end counts too.

    The rotated files of a log are one source.
    """
    return f"""
WITH seen AS (
    SELECT coalesce(cluster, '') AS cluster, source, {_LOG} AS log, coalesce(stage_time, received) AS moment FROM events
), ends AS (SELECT max(moment) AS latest FROM seen),
steps AS (
    SELECT source, moment,
           coalesce(lead(moment) OVER (PARTITION BY cluster, log ORDER BY moment),
                    (SELECT latest FROM ends)) AS following
    FROM seen WHERE moment IS NOT NULL
)
SELECT moment AS first, following AS last, source, NULL AS count,
       'nothing for ' || (epoch(following - moment))::BIGINT || ' s' AS what
FROM steps WHERE following - moment > INTERVAL {int(seconds)} SECOND ORDER BY 1"""


UNFINISHED = """
WITH ends AS (SELECT max(coalesce(stage_time, received)) AS latest FROM events),
requests AS (
    SELECT cluster, audit_id, username, request_uri, received, any_value(source) AS door,
           bool_or(stage IN ('ResponseComplete', 'Panic')) AS is_over, bool_or(stage = 'ResponseStarted') AS has_begun,
           bool_or(code = 401) AS is_refused
    FROM events WHERE audit_id IS NOT NULL GROUP BY ALL
)
SELECT min(received) AS first, max(received) AS last, door AS source, count(*) AS count,
       CASE WHEN has_begun THEN 'answers began and their end is not recorded: open still, or lost'
            ELSE 'requests came in and no answer is recorded' END AS what
FROM requests, ends
WHERE NOT is_over AND is_refused IS NOT TRUE AND received < latest - INTERVAL 60 SECOND
GROUP BY door, has_begun ORDER BY 1"""
"""Requests that came in a minute or more before the end of the log and of which no end is recorded."""

UNANNOUNCED = """
WITH requests AS (
    SELECT cluster, audit_id, username, request_uri, received, any_value(source) AS door,
           date_trunc('hour', received) AS hour,
           bool_or(stage = 'RequestReceived') AS is_announced, bool_or(code = 401) AS is_refused,
           any_value(username) IS NOT NULL AS is_known,
           coalesce(any_value(verb), '') || ' ' || coalesce(any_value(resource), '') AS kind
    FROM events WHERE audit_id IS NOT NULL GROUP BY ALL
), kinds AS (
    SELECT hour, kind FROM requests WHERE is_known GROUP BY ALL
    HAVING count(*) >= 20 AND count_if(is_announced) >= 0.9 * count(*)
)
SELECT min(received) AS first, max(received) AS last, door AS source, count(*) AS count,
       'the answer is recorded and the request is not, though it is for others of its kind' AS what
FROM requests JOIN kinds USING (hour, kind)
WHERE NOT is_announced AND is_refused IS NOT TRUE
GROUP BY door ORDER BY 1"""
"""Answers without their RequestReceived, among kinds of requests that have theirs as a rule."""


def reused(*, is_store: bool) -> str:
    """Ask for auditIDs that stand for more than one thing: chosen by a client, or altered copies.

    A store has every Event once; among files, copies with the same members are one content.
    """
    moment = "coalesce(stage_time, received)"
    contents = f"SELECT cluster, audit_id, stage, source, {moment} AS first, {moment} AS last, 1 AS copies FROM events"
    if not is_store:
        members = ", ".join(field.column for field in FIELDS if not field.is_derived and field.column != "kind")
        contents = f"""
    SELECT cluster, audit_id, stage, any_value(source) AS source, min({moment}) AS first, max({moment}) AS last,
           count(*) AS copies
    FROM events GROUP BY cluster, audit_id, stage, hash({members})"""
    return f"""
SELECT min(first) AS first, max(last) AS last, any_value(source) AS source, sum(copies)::BIGINT AS count,
       'auditID ' || audit_id || ' at ' || stage || ' has ' || count(*) || ' different contents' AS what
FROM ({contents}) WHERE audit_id IS NOT NULL AND stage IS NOT NULL
GROUP BY cluster, audit_id, stage
HAVING count(*) > 1 ORDER BY 1"""


BACKWARDS = """
SELECT min(received) AS first, max(received) AS last, source, count(*) AS count,
       'stages are dated before their request, by up to '
       || (max(epoch_ms(received) - epoch_ms(stage_time)))::BIGINT || ' ms: the clock was set back' AS what
FROM events WHERE stage_time < received - INTERVAL 1 SECOND GROUP BY source ORDER BY 1"""
"""Stages that are dated before their request came in."""

AHEAD = """
SELECT min(stage_time) AS first, max(stage_time) AS last, source, count(*) AS count,
       'dated up to ' || (max(epoch(stage_time - log_time)))::BIGINT || ' s after they were received: a clock is wrong'
       AS what
FROM events WHERE stage_time > log_time + INTERVAL 5 SECOND GROUP BY source ORDER BY 1"""
"""Events that say they happened after the store took them in."""


def jumps(seconds: int) -> str:
    """Ask where a file's clock goes back by more than this, in the order in which it was written.

    Of every hundred Events the one in the middle counts, so that a few odd dates are no jump of the clock.
    """
    return f"""
WITH numbered AS (
    SELECT cluster, source, stage_time AS moment,
           row_number() OVER (PARTITION BY cluster, source ORDER BY _row) AS n
    FROM events WHERE stage_time IS NOT NULL AND (source IS NULL OR source NOT LIKE 'webhook:%')
), hundreds AS (
    SELECT cluster, source, (n - 1) // 100 AS hundred, median(moment) AS moment
    FROM numbered GROUP BY ALL HAVING count(*) >= 50
), steps AS (
    SELECT source, moment, lag(moment) OVER (PARTITION BY cluster, source ORDER BY hundred) AS earlier FROM hundreds
)
SELECT moment AS first, earlier AS last, source, NULL AS count,
       'written after what is dated ' || (epoch(earlier - moment))::BIGINT
       || ' s later: the clock was set back, or files are out of order' AS what
FROM steps WHERE earlier - moment > INTERVAL {int(seconds)} SECOND ORDER BY 1"""


DOWN = """
WITH scoped AS (
    SELECT verb, stage_time AS moment, log_index, verb IN ('start', 'stop') AS is_life,
           coalesce(annotations['kubewitness.io/cluster'], '') AS scope
    FROM events WHERE verb IN ('start', 'stop', 'refuse', 'resume')
), entries AS (
    SELECT *, lead(verb) OVER (PARTITION BY is_life, scope ORDER BY log_index) AS following,
           lead(moment) OVER (PARTITION BY is_life, scope ORDER BY log_index) AS until
    FROM scoped
)
SELECT moment AS first, until AS last, NULLIF(scope, '') AS source, NULL AS count,
       CASE WHEN verb = 'stop' THEN 'the receiver was stopped'
            WHEN verb = 'refuse' THEN 'the receiver could store nothing'
            ELSE 'the receiver ended without saying so, at some time before it began again' END AS what
FROM entries
WHERE verb IN ('stop', 'refuse') OR (verb = 'start' AND following = 'start')
ORDER BY 1"""
"""When the receiver was down, by the operator log."""
