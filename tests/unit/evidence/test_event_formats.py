"""Events: the forms of times and levels that programs write, one sample of each."""

# ruff: noqa: E501 -- a sample is read as a whole

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifrost_flow.evidence.events import split_events
from bifrost_flow.evidence.stamps import Shapes
from bifrost_flow.evidence.times import find_stamp, read_time

# Line, UTC time, level.
LINES = [
    # Languages and logging libraries.
    ("2024-03-28 10:21:53,960 INFO (main) ok", "2024-03-28T10:21:53.960", "info"),
    ("2024-03-28 10:21:53,960 - app.db - WARNING - pool is full", "2024-03-28T10:21:53.960", "warning"),
    ("WARNING:root:pool is full", None, "warning"),
    ("10:21:53.960 [main] ERROR c.e.App - no", None, "error"),
    ("2024-03-28T10:21:53.960+09:00  WARN 1 --- [main] c.e.App : slow", "2024-03-28T01:21:53.960", "warning"),
    ("[2024-03-28 10:21:53.960] [app] [critical] gone", "2024-03-28T10:21:53.960", "critical"),
    ("[2017-11-09T02:12:24Z ERROR main] printed by default", "2017-11-09T02:12:24", "error"),
    ("2022-01-19T17:27:07.013874956Z  WARN hyper::proto: x", "2022-01-19T17:27:07.013874", "warning"),
    ("I, [2024-03-28T10:21:53.960123 #12]  INFO -- : started", "2024-03-28T10:21:53.960123", "info"),
    ("F, [2024-03-28T10:21:53.960123 #12] FATAL -- : gone", "2024-03-28T10:21:53.960123", "critical"),
    ("2024/03/28 10:21:53 main.go:12: listening", "2024-03-28T10:21:53", None),
    ("2024/03/28 10:21:53 [WARN] agent: slow", "2024-03-28T10:21:53", "warning"),
    ("2024-03-28T10:21:53.960Z\terror\tsync/a.go:87\tfailed\t{}", "2024-03-28T10:21:53.960", "error"),
    ("E0517 15:04:22.619632 1952452992 a.cc:253] no", "2026-05-17T15:04:22.619632", "error"),
    ("I20200308 23:47:32.089828 400441 config.cc:27] Loading", "2020-03-08T23:47:32.089828", "info"),
    ("2024-03-28 10:21:53.9601|ERROR|App.Worker|no", "2024-03-28T10:21:53.960100", "error"),
    ("[10:21:53 WRN] retrying", None, "warning"),
    ("2024-03-28 10:21:53.960 +09:00 [FTL] gone", "2024-03-28T01:21:53.960", "critical"),
    ("fail: Microsoft.AspNetCore.Server[13]", None, "error"),
    ("[28-Mar-2024 10:21:53 UTC] PHP Fatal error:  Uncaught", "2024-03-28T10:21:53", "critical"),
    ("10:21:53.960 [error] GenServer terminating", None, "error"),
    ("[1/2/06 3:04:05:123 EST] 00000001 SystemErr     R   x", "2006-01-02T08:04:05.123", None),
    ("####<Oct 12, 2021 1:12:37,732 PM UTC> <Warning> <Net> <x>", "2021-10-12T13:12:37.732", "warning"),
    # Servers.
    ('1.2.3.4 - - [21/Jul/2025:14:23:15 +0200] "GET / HTTP/1.1" 200 45', "2025-07-21T12:23:15", "info"),
    ('1.2.3.4 - - [21/Jul/2025:14:23:15 +0200] "GET / HTTP/1.1" 503 45', "2025-07-21T12:23:15", "error"),
    ("[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35] x", "2011-09-09T10:42:29.902022", "error"),
    ("2022/02/03 10:00:00 [crit] 12#12: *1 open() failed", "2022-02-03T10:00:00", "critical"),
    ("2025-07-21 10:14:21.125 UTC [21763] FATAL:  no", "2025-07-21T10:14:21.125", "critical"),
    ("2025-06-05 17:10:04 MSK [608647-3] LOG:  started", "2025-06-05T14:10:04", "info"),
    ("2025-06-05 17:10:04.120+02 [12] app@db ERROR:  syntax error", "2025-06-05T15:10:04.120", "error"),
    ("2020-08-06T14:25:02.835618Z 0 [Warning] [MY-012487] x", "2020-08-06T14:25:02.835618", "warning"),
    ("1:M 29 Aug 2023 13:47:38.984 # WARNING overcommit", "2023-08-29T13:47:38.984", "warning"),
    ("[3574] 13 Apr 12:52:30.731 * Ready", "2026-04-13T12:52:30.731", "info"),
    ("2022-02-14T22:38:19.123+0000 E NETWORK  [conn] no", "2022-02-14T22:38:19.123", "error"),
    ("2022-01-31 18:01:20.441571+00:00 [erro] <0.692.0> no", "2022-01-31T18:01:20.441571", "error"),
    ("[notice] 2022-01-12T17:55:04.123456Z n@h <0.117.0> x", "2022-01-12T17:55:04.123456", "info"),
    ("[ns_server:warn,2025-08-18T09:16:05.452Z,n@h:x]slow", "2025-08-18T09:16:05.452", "warning"),
    ("INFO  [main] 2022-01-01 10:00:00,123 Daemon.java:5 - x", "2022-01-01T10:00:00.123", "info"),
    ("16-Feb-2022 15:30:45.123 SEVERE [main] org.x no", "2022-02-16T15:30:45.123", "error"),
    ("2022-03-18-10.54.52.148001-300   I1E1234   LEVEL: Error", "2022-03-18T15:54:52.148001", "error"),
    ("Tue Jan 18 20:46:04 2022 +01:00", "2022-01-18T19:46:04", None),
    ("Feb 16 2022 19:56:38 GMT: WARNING (nsup): (nsup.c:962) x", "2022-02-16T19:56:38", "warning"),
    ("10-Sep-2024 20:18:23.841 notify: info: zone", "2024-09-10T20:18:23.841", "info"),
    ("2016-09-28 04:30:30, Error                 CBS    Failed", "2016-09-28T04:30:30", "error"),
    ("1286536309.586    921 1.2.3.4 TCP_MISS/200 507 GET x", "2010-10-08T11:11:49.586", "info"),
    ("1286536309.586    921 1.2.3.4 TCP_DENIED/403 507 GET x", "2010-10-08T11:11:49.586", "error"),
    ("[06/Feb/2009:12:14:14.655] front back/s1 0/0/1/2/+3 503 +17 - - SC-- 1/1/0/0/0 0/0", "2009-02-06T12:14:14.655", "error"),
    ("[2020-04-04 13:43:09 +0200] critical/Socket: gone", "2020-04-04T11:43:09", "critical"),
    ("[Tue Apr 14 14:27:52.605084 2020] [:error] [pid 56] no", "2020-04-14T14:27:52.605084", "error"),
    ("[28-Mar-2024 10:21:53 Europe/Berlin] PHP Warning:  x", "2024-03-28T09:21:53", "warning"),
    ("[28-Mar-2024 10:21:53 Europe/Nowhere] PHP Notice:  x", "2024-03-28T10:21:53", "info"),
    ("[2024-03-28 10:21:53] live.EMERGENCY: gone", "2024-03-28T10:21:53", "critical"),
    ("=ERROR REPORT==== 3-Apr-2019::11:13:08 ===", "2019-04-03T11:13:08", "error"),
    ("09-Jan 19:54 host JobId 26: created", "2026-01-09T19:54:00", None),
    ("17-Jan-2003 16:45 host: Could not stat x: ERR=No such file", "2003-01-17T16:45:00", None),
    ("11-Nov 13:28 dir JobId 1: Fatal error: no. ERR=refused", "2026-11-11T13:28:00", "critical"),
    ("<134> 08/02/2020:14:53:24 GMT h 0-PPE-0 : x", "2020-08-02T14:53:24", "info"),
    ("[1427925689] SERVICE ALERT: a;b;WARNING;SOFT;1;slow", "2015-04-01T22:01:29", "warning"),
    ('2020-02-14 17:31:06.799529 UTC,"a","b",p1,"LOG","00000","x"', "2020-02-14T17:31:06.799529", "info"),
    ("[9/25/13 14:50:32:123 EDT] 0000000a Thread        W   WSVR0605W: hung", "2013-09-25T18:50:32.123", "warning"),
    ("2021-05-06 07:08:09.123456+0200 0x12     Error       0x0      1    0    kernel: no", "2021-05-06T05:08:09.123456", "error"),
    ("[06/Feb/2009:12:14:14.655] front back/s1 0/0/1", "2009-02-06T12:14:14.655", None),
    # Systems.
    ("Jul  1 09:00:55 host kernel[0]: link down", "2026-07-01T09:00:55", None),
    ("<11>Jul  1 09:00:55 host app[1]: no", "2026-07-01T09:00:55", "error"),
    ("<165>1 2003-10-11T22:14:15.003Z h app - ID47 - x", "2003-10-11T22:14:15.003", "info"),
    ("<158>Sep 20 15:50:26 h n[1]: 2024-09-20T10:20:26.751Z q: info: x", "2024-09-20T10:20:26.751", "info"),
    ("*Mar  1 00:00:15.123: %SYS-3-CONFIG_I: x", "2026-03-01T00:00:15.123", "error"),
    ("Jan 02 2006 15:04:05: %ASA-4-106023: Deny tcp", "2006-01-02T15:04:05", "warning"),
    ("type=SYSCALL msg=audit(1364481363.243:24287): arch=c0", "2013-03-28T14:36:03.243", None),
    ("2022-06-02T05:34:56.746Z Wa(12) Store[10]: x", "2022-06-02T05:34:56.746", "warning"),
    ("03-17 16:13:38.811  1702  2395 W Window: x", "2026-03-17T16:13:38.811", "warning"),
    ("E/AndroidRuntime( 1234): FATAL EXCEPTION: main", None, "error"),
    ("- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228 crond", "2005-11-09T20:01:01", None),
    ("@4000000052d89ec712345678 started", "2014-01-17T03:08:45.305419", None),
    ("10/05/10-10:08:59.667372  [**] [1:2009187:4] x", "2010-10-05T10:08:59.667372", None),
    ("[    12.347] (EE) Failed to load a module", None, "error"),
    ("[1234:5678:0506/070809.123456:ERROR:gpu_init.cc(12)] no", "2026-05-06T07:08:09.123456", "error"),
    ("2021-05-06T07:08:09Z W! [agent] slow", "2021-05-06T07:08:09", "warning"),
    ("2021-05-06 07:08:09.123456 N | embed: serving", "2021-05-06T07:08:09.123456", "info"),
    ("[1234]{-1}[-1/-1] 2021-05-06 07:08:09.123456 e Basis    Service.cpp(00123) : no", "2021-05-06T07:08:09.123456", "error"),
    ("2021-05-06T07:08:09.12+00:00 heroku[router]: at=error code=H12 status=503", "2021-05-06T07:08:09.120", "error"),
    ("Error\t5/6/2021 7:08:09 AM\tService Control Manager\t7000\tx", "2021-05-06T07:08:09", "error"),
    ("2021-05-06 07:08:09,123 p=123 u=a | PLAY [all] ***", "2021-05-06T07:08:09.123", None),
    ("CEF:0|A|B|1|100|x|9|src=1.2.3.4 rt=1", None, "critical"),
    # Containers and CI.
    ("2024-01-01T00:00:00.000000000Z stderr F error: no such file", "2024-01-01T00:00:00", "error"),
    ('2024-01-01T00:00:00.5Z stdout F {"level":"warn","msg":"x"}', "2024-01-01T00:00:00.500", "warning"),
    ('time="2026-05-06T19:55:11Z" level=debug msg="fetch"', "2026-05-06T19:55:11", "debug"),
    ("ts=2024-01-01T10:00:00.5+09:00 lvl=eror msg=x", "2024-01-01T01:00:00.500", "error"),
    ("time=1693279182123 level=50 msg=x", "2023-08-29T03:19:42.123", "error"),
    ("\x1b[2m2024-01-01T00:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m no", "2024-01-01T00:00:00", "error"),
    ("10%\r55%\r2024-01-01 10:00:00 ERROR no\r", "2024-01-01T10:00:00", "error"),
    # Datasets of other systems.
    ("20171224-0:7:20:44|Step_LSC|30002312|x", "2017-12-24T00:07:20.044", None),
    ("20171223-22:15:29:606|Step_LSC|30002312|x", "2017-12-23T22:15:29.606", None),
    ("17/06/09 20:10:40 ERROR executor.Backend: gone", "2017-06-09T20:10:40", "error"),
    ("081109 203615 148 INFO dfs.DataNode: terminating", "2008-11-09T20:36:15", "info"),
    ("nova.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO x", "2017-05-16T00:00:00.008", "info"),
    ("[10.30 16:49:06] chrome.exe - open", "2026-10-30T16:49:06", None),
    ("31.12.2023 10:00:00 Fehler", "2023-12-31T10:00:00", None),
    ("12/31/2023 11:59:59 PM Information x", "2023-12-31T23:59:59", "info"),
    ("21-DEC-2021 10:19:47 * service_update", "2021-12-21T10:19:47", None),
    ("10 Jan 2022 10:00:00 GMT+9 x", "2022-01-10T01:00:00", None),
    # No level, whatever words say.
    ("2024-01-01 10:00:00 no error found", "2024-01-01T10:00:00", None),
    ("2024-01-01 10:00:00 finished with 0 errors", "2024-01-01T10:00:00", None),
    ("2024-01-01 10:00:00 INFO no error found", "2024-01-01T10:00:00", "info"),
    ("no time at all", None, None),
    # No level, and yet an error.
    ("Traceback (most recent call last):", None, "error"),
    (" NoMethodError (undefined method `x' for nil):", None, "error"),
    ("exception 'App\\\\Gone' with message 'x' in /a.php:5", None, "error"),
    ('Exception in thread "main" java.lang.IllegalStateException: x', None, "error"),
    ("panic: runtime error: index out of range", None, "critical"),
]  # fmt: skip

OBJECTS = [
    ('{"ts": 1721037503.696, "level": "error", "msg": "x"}', "2024-07-15T09:58:23.696", "error"),
    ('{"timestamp":"2025-10-17T22:09:20.139141Z","level":"INFO"}', "2025-10-17T22:09:20.139141", "info"),
    ('{"name":"a","pid":1,"level":50,"time":"2012-02-03T18:27:36.743Z","v":0}', "2012-02-03T18:27:36.743", "error"),
    ('{"level":40,"time":1531171074631,"msg":"slow"}', "2018-07-09T21:17:54.631", "warning"),
    ('{"version":"1.1","short_message":"x","timestamp":1385053862.3072,"level":3}', "2013-11-21T17:11:02.307200", "error"),
    ('{"__REALTIME_TIMESTAMP":"1693279182123456","PRIORITY":"4","MESSAGE":"x"}', "2023-08-29T03:19:42.123456", "warning"),
    ('{"log":"ERROR: no\\n","stream":"stderr","time":"2024-01-01T10:00:00.123456789Z"}', "2024-01-01T10:00:00.123456", "error"),
    ('{"t":{"$date":"2022-02-14T22:38:19.123+00:00"},"s":"W","c":"NET","msg":"x"}', "2022-02-14T22:38:19.123", "warning"),
    ('{"t":{"$date":"2022-02-14T22:38:19.123+00:00"},"s":"D2","c":"NET","msg":"x"}', "2022-02-14T22:38:19.123", "debug"),
    ('{"@t":"2024-03-28T10:21:53.9601Z","@mt":"x","@l":"Fatal"}', "2024-03-28T10:21:53.960100", "critical"),
    ('{"@timestamp":"2024-03-28T10:21:54Z","time":"2024-03-28T10:21:53Z","log.level":"WARN"}', "2024-03-28T10:21:53", "warning"),
    ('{"@timestamp":"2024-03-28T10:21:54Z","log":{"level":"error"},"message":"x"}', "2024-03-28T10:21:54", "error"),
    ('{"timeUnixNano":"1693279182123456789","severityNumber":17,"body":"x"}', "2023-08-29T03:19:42.123456", "error"),
    ('{"timestamp": "2024-06-10T12:34:56,789Z", "level": "DEPRECATION", "message": "x"}', "2024-06-10T12:34:56.789", "warning"),
    ('{"message":"x","severity":"EMERGENCY"}', None, "critical"),
    ('{"method":"GET","status":502,"time":1693279182}', "2023-08-29T03:19:42", "error"),
    ('{"created": 1620284889.123, "levelno": 20, "message": "x"}', "2021-05-06T07:08:09.123", "info"),
    ('{"instant":{"epochSecond":1620284889,"nanoOfSecond":123000000},"level":"ERROR"}', "2021-05-06T07:08:09.123", "error"),
    ('{"@t":"2024-03-28T10:21:53.9601Z","@m":"x"}', "2024-03-28T10:21:53.960100", "info"),
    ('{"eventTime":"2024-01-01T10:00:00Z","eventName":"x"}', "2024-01-01T10:00:00", None),
    ('{"Level":2,"EventID":7,"Channel":"System","TimeCreated":"2024-01-01T10:00:00.5Z"}', "2024-01-01T10:00:00.500", "error"),
]  # fmt: skip


def present() -> datetime:
    """Return the day that times without a year are read on."""
    return datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _on_that_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bifrost_flow.evidence.times._present", present)


@pytest.mark.parametrize(("line", "when", "level"), LINES + OBJECTS)
def test_times_and_levels_are_read(line: str, when: str | None, level: str | None) -> None:
    """The time of a line becomes UTC, its level one of ours."""
    ((block),) = split_events([pl.Series([line])])
    ((_, _, timestamp, severity, *_),) = block.events.iter_rows()
    expected = datetime.fromisoformat(when).replace(tzinfo=UTC) if when else None
    assert (timestamp, severity) == (expected, level)


@settings(deadline=None)
@given(st.data())
def test_columns_read_what_single_lines_say(data: st.DataObject) -> None:
    """Times found by the shapes of many lines are those found in each line by itself."""
    lines = []
    for line, *_ in data.draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=30)):
        # Other seconds and fractions have the same shape.
        stamp = find_stamp(line)
        if stamp and stamp.frac_at > 0:
            digits = data.draw(st.integers(0, 10 ** (stamp.frac_end - stamp.frac_at) - 1))
            width = stamp.frac_end - stamp.frac_at
            line = f"{line[: stamp.frac_at]}{digits:0{width}}{line[stamp.frac_end :]}"
        lines.append(line)
    found = Shapes().find(pl.Series(lines))
    for line, start, end, when in zip(lines, found["start"], found["end"], found["when"], strict=True):
        stamp = find_stamp(line)
        assert (start, end) == ((stamp.start, stamp.end) if stamp else (None, None))
        assert when == (read_time(line, stamp) if stamp else None)
