"""The outcome of jobs, as their logs end: with a system's last word, a tool's summary, or in the middle."""

# ruff: noqa: E501 -- logs are as wide as they are

import pytest

from bifrost_flow.evidence.scan import scan_file

GHA_START = "Current runner version: '2.317.0'\n##[group]Runner Image\nImage: ubuntu-24.04\n##[endgroup]\n"
GHA_END = "Post job cleanup.\n[command]/usr/bin/git config --local --unset-all http.https://github.com/.extraheader\nCleaning up orphan processes\n"
TRACE = (
    'Traceback (most recent call last):\n  File "/app/a.py", line 3, in f\n    g()\nValueError: bad value\n'
)


def gha(*steps: str, end: str = GHA_END) -> str:
    text = GHA_START + "".join(f"##[group]Run {step}" for step in steps) + end
    return "".join(
        f"2024-05-01T10:00:{n % 60:02d}.1234567Z {line}\n" for n, line in enumerate(text.splitlines())
    )


PASSED = {
    "flutter": "00:01 +10: hub_test.dart: Hub fails softly\n00:02 +12 ~1: All tests passed!\n",
    "xctest": "Test Case '-[HubTests testError]' passed (0.001 seconds).\n\t Executed 20 tests, with 0 failures (0 unexpected) in 1.065 (1.068) seconds\n[Hub] fetch failed (attempt 1): HTTP error 500.\n",
    "gha": gha("make test\n##[endgroup]\n=== 12 passed in 0.31s ===\n"),
    "gha, words of failure": gha(
        "make test\n##[endgroup]\ngcc -Werror -c error.c -o error.o\ntest_error_handler ... ok\n0 errors, 0 failed\nnpm WARN deprecated\n"
        "ERROR: this is expected by test_logging\nok  \texample.com/errors\t0.2s\n"
    ),
    "gha, traceback of a passing test": gha(f"pytest -s\n##[endgroup]\n{TRACE}=== 3 passed in 0.31s ===\n"),
    "gha, a step that may fail": gha(
        "npm run experimental\n##[endgroup]\nnot supported yet\n##[error]Process completed with exit code 1.\n",
        "npm test\n##[endgroup]\nTests: 12 passed, 12 total\n",
    ),
    "gha, cut at its beginning": gha("make check_headers\n##[endgroup]\n", end=""),
    "gha, docker says 137 after a test": gha(
        "docker compose up\n##[endgroup]\nweb-1 exited with code 137\n=== 4 passed in 2.31s ===\n"
    ),
    "travis": 'travis_fold:end:install\r\n$ make test\nOK (231 tests, 679 assertions)\n\nThe command "make test" exited with 0.\n\nDone. Your build exited with 0.\n',
    "travis, after_success failed": '$ make test\nThe command "make test" exited with 0.\n$ coveralls\nTraceback (most recent call last):\n  File "c.py", line 1, in f\nOSError: no token\n\nDone. Your build exited with 0.\n',
    "travis, a retry": 'travis_time:start:1\r\n$ npm install\nnpm ERR! network timeout\n\nThe command "npm install" failed. Retrying, 2 of 3.\nadded 212 packages\nThe command "npm test" exited with 0.\n\nDone. Your build exited with 0.\n',
    "gitlab": "Running with gitlab-runner 16.5.0 (853330f9)\n$ pytest\nERROR    root:test_a.py:3 expected failure\n=== 3 passed in 0.12s ===\nsection_end:1704448800:step_script\r\x1b[0K\x1b[32;1mJob succeeded\x1b[0;m\n",
    "gitlab, timestamps": "2024-01-05T10:00:00.000000Z 00O Running with gitlab-runner 17.0.0\n2024-01-05T10:00:01.000000Z 01E error: expected by a test\n2024-01-05T10:00:02.000000Z 00O Job succeeded\n",
    "jenkins": "Started by timer\n[Pipeline] sh\n+ mvn verify\n[ERROR] tests log this\n[INFO] BUILD SUCCESS\n[Pipeline] End of Pipeline\nFinished: SUCCESS\n",
    "jenkins, a step caught": "Started by user admin\n[Pipeline] catchError\nERROR: script returned exit code 1\n[Pipeline] echo\nignored\nFinished: SUCCESS\n",
    "zuul": "2024-01-05 10:00:00.123456 | ubuntu-jammy |   py311: OK\n2024-01-05 10:00:01.123456 | ubuntu-jammy |   congratulations :)\n2024-01-05 10:00:02.123456 | [Zuul] Job complete, result: SUCCESS\n",
    "zuul, recap": "localhost                  : ok=2    changed=1    unreachable=0    failed=0   \n",
    "azure": "2024-01-05T10:00:00.1234567Z ##[section]Starting: Tests\n2024-01-05T10:00:01.1234567Z ERROR: expected by a test\n2024-01-05T10:00:03.1234567Z ##[section]Finishing: Tests\n",
    "buildkite": "~~~ Running agent environment hook\n~~~ Running commands\n$ make\nerror_test.c:3: ok\n~~~ Running global pre-exit hook\n",
    "teamcity": "Build 'Shop / Tests' #12\n[10:00:00] :\t Step 1/1: Command Line\n[10:00:01] :\t [Step 1/1] test_error ok\n[10:00:01] :\t [Step 1/1] Process exited with code 0\n[10:00:02] : Build finished\n",
    "appveyor": "Build started\ngit clone -q https://example.com/a.git C:\\projects\\a\nerror_test.exe passed\nBuild success\n",
    "codebuild": "[Container] 2024/01/05 10:00:00 Phase complete: BUILD State: SUCCEEDED\n[Container] 2024/01/05 10:00:01 Phase complete: POST_BUILD State: SUCCEEDED\n",
    "cloud build": 'starting build "1b2c3d4e-0000-4444-8888-123456789abc"\n\nFETCHSOURCE\nStep #0: error: none\nPUSH\nDONE\n',
    "koji": "DEBUG util.py:444: checking for error\nRPM build warnings:\n    absolute symlink\nChild return code was: 0\n",
    "taskcluster": "[taskcluster 2024-01-05 10:00:00.000Z] Task ID: abc\n[taskcluster 2024-01-05 10:05:00.000Z] Successful task run with exit code: 0 completed in 300.5 seconds\n",
    "pytest": f"============ test session starts ============\ncollected 3 items\n{TRACE}\n============ 3 passed, 1 warning in 0.31s ============\n",
    "pytest, xfailed": "== test session starts ==\ntest_a.py x.s                 [100%]\n== 1 passed, 1 skipped, 1 xfailed in 0.05s ==\n",
    "unittest": "test_error (a.T) ... ok\ntest_fail (a.T) ... ok\n----------------------------------------------------------------------\nRan 2 tests in 0.001s\n\nOK\n",
    "cargo": "running 2 tests\ntest errors::fails_on_panic - should panic ... ok\ntest b ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
    "go": "=== RUN   TestError\n--- PASS: TestError (0.00s)\nPASS\nok  \texample.com/a\t0.004s\nok  \texample.com/errors\t0.004s\n",
    "jest": "PASS src/error.test.js\n  ● Console\n    console.error\n      Error: expected\n\nTest Suites: 1 passed, 1 total\nTests:       4 passed, 4 total\nSnapshots:   0 total\nTime:        1.2 s\n",
    "mocha": "  error handling\n    ✓ throws TypeError\n    ✓ fails on bad input\n\n  2 passing (12ms)\n",
    "maven": "[INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 0\n[INFO] BUILD SUCCESS\n[INFO] Total time:  4.2 s\n[INFO] Finished at: 2024-01-05T10:00:00Z\n",
    "gradle": "> Task :test\nErrorTest > failsOnNull() PASSED\n\nBUILD SUCCESSFUL in 12s\n7 actionable tasks: 7 executed\n",
    "ctest": "1/2 Test #1: error_test ... Passed 0.01 sec\n2/2 Test #2: b ... Passed 0.01 sec\n\n100% tests passed, 0 tests failed out of 2\n\nTotal Test time (real) =   0.02 sec\n",
    "rspec": "..\n\nFinished in 0.2 seconds\n2 examples, 0 failures\n",
    "dotnet": "  Passed ErrorTest [3 ms]\n\nPassed!  - Failed:     0, Passed:    12, Skipped:     0, Total:    12, Duration: 40 ms - A.dll (net8.0)\n",
    "bazel": "//a:error_test  PASSED in 0.1s\n\nExecuted 1 out of 1 test: 1 test passes.\nINFO: Build completed successfully, 4 total actions\n",
}

FAILED = {
    "flutter": "00:01 +10: hub_test.dart: Hub turns\n00:03 +11 -1: hub_test.dart: Hub is round\n00:03 +12 -1: Some tests failed.\n",
    "xctest": "Test Case '-[HubTests testTurns]' started.\n\t Executed 20 tests, with 1 failure (0 unexpected) in 1.065 (1.068) seconds\n",
    "gha": gha(
        "make test\n##[endgroup]\nmake: *** [Makefile:3: test] Error 2\n##[error]Process completed with exit code 2.\n"
    ),
    "gha, uploads after": gha(
        "make test\n##[endgroup]\nwent wrong\n##[error]Process completed with exit code 2.\n",
        "actions/upload-artifact@v4\n##[endgroup]\nuploaded\n",
        "docker compose logs\n##[endgroup]\nok\n",
    ),
    "gha, tests failed and others went on": gha(
        "pytest\n##[endgroup]\n____ test_a ____\nE   assert 1 == 2\nFAILED tests/test_a.py::test_a - assert 1 == 2\n##[error]Process completed with exit code 1.\n",
        "npm test\n##[endgroup]\nTests: 12 passed, 12 total\n",
    ),
    "gha, cancelled": gha("sleep 999\n##[endgroup]\nwaiting\n##[error]The operation was canceled.\n"),
    "gha, a tool's good word before": gha(
        "make all\n##[endgroup]\nBUILD SUCCESSFUL in 3s\n##[error]Process completed with exit code 3.\n"
    ),
    "travis": 'The command "make test" exited with 2.\ncache.2\nstore build cache\n\nDone. Your build exited with 1.\n',
    "travis, cut": "travis_time:start:1\r\n$ make\nOK (3 tests)\nsrc/a.c:3:5: error: expected ';' before '}' token\nmake: *** [a.o] Error 1\nThe command \"make\" exited with 2.\n$ cat log\n",
    "travis, stopped": "Downloading\n\n\nNo output has been received in the last 10m0s, this potentially indicates a stalled build\n\nThe build has been terminated\n",
    "gitlab": "Running with gitlab-runner 16.5.0\n$ make\nwent wrong\nsection_end:1704448800:cleanup_file_variables\r\x1b[0K\x1b[31;1mERROR: Job failed: exit code 1\n\x1b[0;m\n",
    "jenkins": "Started by timer\n[Pipeline] sh\n+ ./run\n[Pipeline] End of Pipeline\nERROR: script returned exit code 1\nFinished: FAILURE\n",
    "jenkins, unstable": "Started by an SCM change\nRecording test results\n[INFO] BUILD SUCCESS\nFinished: UNSTABLE\n",
    "buildkite": "~~~ Running commands\n$ make\nwent wrong\n\x1b[31m🚨 Error: The command exited with status 1\x1b[0m\n^^^ +++\n~~~ Running global pre-exit hook\n",
    "azure": "2024-01-05T10:00:00.1234567Z ##[section]Starting: Tests\n2024-01-05T10:00:01.1234567Z went wrong\n2024-01-05T10:00:02.1234567Z ##[error]Bash exited with code '1'.\n2024-01-05T10:00:03.1234567Z ##[section]Finishing: Tests\n2024-01-05T10:00:04.1234567Z ##[section]Starting: Finalize Job\n",
    "teamcity": "[10:00:00] :\t [Step 1/1] Starting: ./run\n[10:00:01]W:\t [Step 1/1] went wrong\n[10:00:02] :\t [Step 1/1] Process exited with code 1\n[10:00:02]E:\t [Step 1/1] Process exited with code 1 (Step: Command Line)\n",
    "circleci": "#!/bin/bash -eo pipefail\nnpm test\nCIRCLE_BRANCH=main\n\nExited with code exit status 1\n",
    "zuul": "2024-01-05 10:00:01.123456 | ubuntu-jammy |   pep8: commands failed\n2024-01-05 10:00:02.123456 | [Zuul] Job complete, result: FAILURE\n",
    "recap, one of two hosts": "a : ok=2 changed=1 unreachable=0 failed=1 skipped=0\nb : ok=2 changed=1 unreachable=0 failed=0 skipped=0\n",
    "codebuild": "[Container] 2024/01/05 10:00:00 Phase complete: BUILD State: FAILED\n[Container] 2024/01/05 10:00:01 Phase complete: POST_BUILD State: SUCCEEDED\n",
    "cloud build": 'starting build "1b2c3d4e-0000-4444-8888-123456789abc"\nStep #0: went wrong\nFinished Step #0\nERROR\nERROR: build step 0 "gcr.example/builder" failed: step exited with non-zero status: 1\n',
    "koji": "Bad exit status from /var/tmp/rpm-tmp.x (%build)\nRPM build errors:\n    Bad exit status\nChild return code was: 1\n",
    "window around a compile error": "[ 45%] Building CXX object a.o\n/src/a.cc:12:9: error: use of undeclared identifier 'foo'\n        foo();\n        ^\n[ 46%] Building CXX object b.o\n[ 47%] Building CXX object c.o\n",
    "make": "gcc -c a.c\na.c:3:1: error: unknown type name 'x'\nmake: *** [Makefile:4: a.o] Error 1\n",
    "pytest": "=== test session starts ===\n____ test_a ____\n    def test_a():\n>       assert 1 == 2\nE       assert 1 == 2\n=== short test summary info ===\nFAILED test_a.py::test_a - assert 1 == 2\n=== 1 failed, 211 passed in 3.41s ===\n",
    "go": "--- FAIL: TestA (0.00s)\n    a_test.go:9: got 1\nFAIL\nFAIL\texample.com/a\t0.004s\nok  \texample.com/b\t0.004s\nFAIL\n",
    "cargo": "test a ... FAILED\n\nfailures:\n    a\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n\nerror: test failed, to rerun pass `--lib`\n",
    "jest": "FAIL src/a.test.js\n  ● a › adds\n    expect(received).toBe(expected)\n\nTest Suites: 1 failed, 3 passed, 4 total\nTests:       1 failed, 12 passed, 13 total\n",
    "maven": "[ERROR] Tests run: 4, Failures: 1, Errors: 0, Skipped: 0\n[INFO] BUILD FAILURE\n[INFO] Total time:  4.2 s\n",
    "gradle": "> Task :test FAILED\n\nFAILURE: Build failed with an exception.\n\nBUILD FAILED in 12s\n7 actionable tasks: 7 executed\n",
    "ctest": "98% tests passed, 1 tests failed out of 50\n\nThe following tests FAILED:\n\t 3 - io (SEGFAULT)\nErrors while running CTest\n",
    "docker": '#9 [3/5] RUN make\n#9 1.234 went wrong\n#9 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2\n------\nERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2\n',
    "npm": "npm ERR! code ELIFECYCLE\nnpm ERR! errno 1\nnpm ERR! a@1.0.0 build: `tsc`\nnpm ERR! Exit status 1\n",
    "a script's traceback": f"loading\n{TRACE}",
    "killed": "training step 11\ntraining step 12\n./run.sh: line 3:  4711 Killed                  python train.py\n",
    "service, a crash at its end": "2024-01-05 10:00:00 INFO serving\n2024-01-05 10:00:01 INFO ok\n2024-01-05 10:00:02 ERROR stopping\n"
    + TRACE,
    "service, fatal": '{"level":"info","ts":1704448800.1,"msg":"serving"}\n{"level":"fatal","ts":1704448801.1,"msg":"listen tcp :80: bind: permission denied"}\n',
}

UNKNOWN = {
    "service": "".join(
        f"2024-01-05 10:{n // 60:02d}:{n % 60:02d},000 {'ERROR' if n == 3 else 'INFO'} request {n} {'failed: connection refused' if n == 3 else 'handled'}\n"
        for n in range(100)
    ),
    "service, survived": "2024-01-05 10:00:00 ERROR in a request\n"
    + TRACE
    + "".join(f"2024-01-05 10:01:{n % 60:02d} INFO request {n} handled\n" for n in range(90)),
    "service, of other programs": "Jan  5 10:00:00 node7 systemd[1]: a.service: Main process exited, code=exited, status=1/FAILURE\n"
    + "".join(f"Jan  5 10:01:{n % 60:02d} node7 cron[{n}]: session opened\n" for n in range(80)),
    "text": "hello\nnothing to see here\n",
    "a build that goes on": "gcc -c a.c\ngcc -c error.c -Werror\n",
}


def judge(text: str) -> str:
    facts, _ = scan_file([text.encode()], "x", budget_tokens=500, max_line_bytes=1 << 16)
    return facts.outcome


@pytest.mark.parametrize("name", PASSED)
def test_passed_jobs_are_called_passed(name: str) -> None:
    """A job that passed is not called failed, however many words of failure its log holds."""
    assert judge(PASSED[name]) == "passed"


@pytest.mark.parametrize("name", FAILED)
def test_failed_jobs_are_called_failed(name: str) -> None:
    """A job that failed is called so, with a system's verdict or without."""
    assert judge(FAILED[name]) == "failed"


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_tells_no_outcome_is_unknown(name: str) -> None:
    """A service that goes on, and a text without a verdict, are neither passed nor failed."""
    assert judge(UNKNOWN[name]) == "unknown"
