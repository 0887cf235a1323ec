"""On a cluster: the same shards, the same bytes, whatever dies."""

import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from make import (
    PATIENCE,
    PLAIN,
    SAMPLE_DATA,
    deadly,
    deep,
    delaytool_process,
    files_in,
    free_port,
    summary_of,
    tokens_table,
    wait_for_port,
)
from pages import RUN, example_with, prepare, run_in_a_bucket, run_in_shell
from ray.cluster_utils import Cluster

from delaytool import map_batch
from delaytool.recipes.presets import plain_recipe

SHARDS = 40
# Two clusters at once are in each other's way.
pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number in range(SHARDS):
        table = tokens_table(rows=150, longest=1500, seed=number)
        pq.write_table(table, folder / f"{number:02}.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected")
    delaytool_process("apply", data, out, *PLAIN, "--workers", 1)
    return files_in(out)


def start(*arguments, **options):
    command = [sys.executable, "-m", "delaytool", *map(str, arguments), "--engine", "ray"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_the_same_bytes_as_on_one_machine(data, expected, tmp_path):
    out = tmp_path / "out"
    local = tmp_path / "local"
    delaytool_process("apply", data, local, *PLAIN, "--workers", 2)
    done = delaytool_process("apply", data, out, *PLAIN, "--engine", "ray", "--json")
    assert summary_of(done)["written"] == SHARDS
    assert files_in(local) == files_in(out) == expected
    assert "Traceback" not in done.stderr
    done = delaytool_process("apply", data, out, *PLAIN, "--engine", "ray", "--json")
    assert summary_of(done)["unchanged"] == SHARDS


class TestACluster:
    """What a cluster that runs already does."""

    @pytest.fixture(scope="class")
    def cluster(self):
        """Two nodes of one processor each, on this machine."""
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        made.doomed = made.add_node(num_cpus=1)
        made.wait_for_nodes(PATIENCE)
        yield made
        made.shutdown()

    def test_align_makes_the_same_bytes(self, cluster, tmp_path):
        on_ray = ("--engine", "ray", "--ray-address", cluster.address)
        for number, where in enumerate(((), on_ray)):
            delaytool_process("align", SAMPLE_DATA / "words", tmp_path / str(number), *where)
        assert files_in(tmp_path / "0") == files_in(tmp_path / "1") != {}

    def test_errors_come_home_with_their_place(self, cluster, tmp_path):
        (tmp_path / "data").mkdir()
        rows = tokens_table(rows=9).to_pylist()
        rows[6]["audio_codes"][2][0] = 4000
        table = pa.Table.from_pylist(rows, tokens_table().schema)
        pq.write_table(table, tmp_path / "data" / "bad.parquet")
        pq.write_table(tokens_table(), tmp_path / "data" / "good.parquet")
        arguments = ("apply", tmp_path / "data", tmp_path / "out", *PLAIN, "--engine", "ray")
        done = delaytool_process(*arguments, "--ray-address", cluster.address, status=1)
        assert (
            "Error: bad.parquet, row 6 (id 'utt-6'), column audio_codes, stream acoust"
            in done.stderr
        )
        assert (
            "bad.parquet" not in files_in(tmp_path / "out") if (tmp_path / "out").exists() else True
        )

    def test_a_node_that_dies_takes_nothing_along(self, data, expected, cluster, tmp_path):
        """The last one here: the cluster has but one node then."""
        out = tmp_path / "out"
        process = start("apply", data, out, *PLAIN, "--ray-address", cluster.address, "--json")
        while process.poll() is None and len(list(out.glob("*.parquet"))) < 3:
            time.sleep(0.02)
        assert process.poll() is None, "it is in the middle of it"
        cluster.remove_node(cluster.doomed, allow_graceful=False)
        printed, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert '"written": 40' in printed or '"unchanged"' in printed
        assert files_in(out) == expected, "all shards, once, with nothing left over"


@pytest.mark.deep
def test_a_shard_that_kills_its_worker_is_named_and_the_others_finish(data, expected, tmp_path):
    out = tmp_path / "out"
    env = deadly(tmp_path / "site", "05.parquet", "SIGSEGV", among="default_worker")
    done = delaytool_process("apply", data, out, *PLAIN, "--engine", "ray", env=env, status=1)
    assert "Error: 05.parquet: reading it killed the process" in done.stderr
    assert files_in(out) == {n: c for n, c in expected.items() if n != "05.parquet"}


@pytest.mark.parametrize("number", [signal.SIGINT, deep(signal.SIGTERM)])
def test_signals_stop_a_run_on_ray(data, expected, tmp_path, number):
    out = tmp_path / "out"
    process = start("apply", data, out, *PLAIN)
    while process.poll() is None and not out.exists():
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    began = time.monotonic()
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number, errors
    assert time.monotonic() - began < 15
    assert "Traceback" not in errors
    for name, content in files_in(out).items():
        assert name.startswith(".") or content == expected[name]
    delaytool_process("apply", data, out, *PLAIN)
    assert files_in(out) == expected


def test_what_is_missing_is_told(data, tmp_path):
    arguments = ("apply", data, tmp_path / "out", *PLAIN)
    done = delaytool_process(*arguments, "--ray-address", "auto", status=2)
    assert "--ray-address goes with --engine ray" in done.stderr
    ray_engine = (*arguments, "--engine", "ray", "--ray-address")
    for address in ("ray://127.0.0.1:9", "127.0.0.1:9"):
        done = delaytool_process(*ray_engine, address, status=1)
        assert f"Error: no Ray cluster at {address}: " in done.stderr
        assert "--ray-address local" in done.stderr
    env = module_in(tmp_path / "site", "ray", "raise ImportError('no ray here')")
    done = delaytool_process(*ray_engine, "local", status=1, env=env)
    assert "Error: Ray is not installed" in done.stderr
    assert "Install it with: pip install 'delaytool[ray]'." in done.stderr


def module_in(folder, name, source):
    """The environment in which a module of a name is this one."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(source)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("asked", "variable", "address"),
    [("auto", "", "auto"), ("", "", "local"), ("", "auto", "auto"), ("local", "auto", "local")],
)
def test_a_cluster_of_this_machine_is_joined_only_when_asked_for(
    data, tmp_path, asked, variable, address
):
    """Ray would join any that it finds. Whether one runs is not for a test to say: others' may."""
    nothing_runs = "def init(address, **_): raise ConnectionError(f'none by the name {address}')"
    env = module_in(tmp_path / "site", "ray", nothing_runs) | {"RAY_ADDRESS": variable}
    arguments = ("apply", data, tmp_path / "out", *PLAIN, "--engine", "ray")
    arguments += ("--ray-address", asked) if asked else ()
    done = delaytool_process(*arguments, status=1, env=env)
    assert f"Error: no Ray cluster at {address}: none by the name {address}" in done.stderr


def test_ray_data(tmp_path):
    table = tokens_table(rows=40)
    pq.write_table(table, tmp_path / "a.parquet")
    delaytool_process("apply", "a.parquet", "out.parquet", *PLAIN, cwd=tmp_path)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        shift = map_batch(plain_recipe(3, (0, 0, 1, 2)), audio_layout="codebook")
        shifted = ray.data.from_arrow(table).map_batches(
            shift, batch_format="pyarrow", batch_size=7
        )
        rows = sorted(shifted.take_all(), key=lambda row: int(row["id"][4:]))
    finally:
        ray.shutdown()
    expected = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(rows) == len(expected) == 40
    for ours, theirs in zip(rows, expected, strict=True):
        for name, value in theirs.items():
            found = ours[name]
            found = found.tolist() if hasattr(found, "tolist") else found
            listed = (
                [x.tolist() if hasattr(x, "tolist") else x for x in found]
                if isinstance(found, list)
                else found
            )
            assert listed == value, name


def test_the_readmes_pipelines(here):
    """Both give what apply writes, in a process of its own, as the README has it."""
    check = (
        "import pyarrow as pa, pyarrow.parquet as pq\n"
        "expected = pq.read_table('made/shifted/train-00000.parquet').to_pylist()\n"
        "assert in_datasets['train'].with_format(None).to_list() == expected\n"
        "rows = pa.concat_tables(ray.get(on_ray.to_arrow_refs())).to_pylist()\n"
        "assert sorted(rows, key=lambda r: r['id']) == sorted(expected, key=lambda r: r['id'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", example_with("map_batch") + check],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        # Ray would join a cluster of another test that is just ending.
        env={**os.environ, "HF_HOME": str(here / "cache"), "RAY_ADDRESS": "local"},
    )
    assert done.returncode == 0, done.stderr


def test_ray_is_imported_only_when_asked_for():
    code = (
        "import sys, delaytool.cli.main; assert not {'ray', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


@pytest.mark.deep
def test_files_that_a_node_does_not_see_are_told(data, tmp_path):
    """A second node on which another disk lies over the folder of the data."""
    hide = f"mount -t tmpfs tmpfs {data} && exec"
    if subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{hide} true"], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    start_node = f"{sys.executable} -m ray.scripts.scripts start --address {cluster.address}"
    node = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", f"{hide} {start_node} --num-cpus 1 --block"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        until = time.monotonic() + PATIENCE
        while sum(each["Alive"] for each in ray.nodes()) < 2:
            assert time.monotonic() < until, "the node does not come"
            time.sleep(0.2)
        ray.shutdown()
        where = ("--engine", "ray", "--ray-address", cluster.address)
        done = delaytool_process("apply", data, tmp_path / "out", *PLAIN, *where, status=1)
        assert "does not see" in done.stderr
        assert "storage that all nodes share" in done.stderr
        assert not (tmp_path / "out").exists()
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        cluster.shutdown()


@pytest.mark.parametrize("command", [command for command in RUN if "ray" in command])
def test_the_commands_in_pages_and_help_run(command, here, request, monkeypatch):
    if "s3://" in command:
        run_in_a_bucket(command, here, request.getfixturevalue("server"))
        return
    prepare(command, here)
    port = free_port()
    # Its server hangs less often when it forks (ray issue 63202); each time costs half a minute.
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "ray_client_server_port": port}
    )
    try:
        # Its server starts after the cluster.
        wait_for_port(port)
        # There is no host of this name here.
        run_in_shell(command.replace("ray://head:10001", f"ray://127.0.0.1:{port}"), here)
    finally:
        cluster.shutdown()
    (made,) = (here / "shifted").iterdir()
    assert made.read_bytes() == (here / "made" / "shifted" / made.name).read_bytes()
