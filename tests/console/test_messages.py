"""What comes in English from the library, in Korean: each error as it is really raised, each figure's words."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from console.texts import translator
from console.texts.messages import in_language
from framemesh import specs
from framemesh.comparing import Comparison, Side, Task
from framemesh.comparing.judging import judge_of
from framemesh.comparing.notes import notes
from framemesh.corrections import check_label_text
from framemesh.errors import FramemeshError, InvalidRequestError
from framemesh.images import read_header
from framemesh.limits import MAX_LABEL_LENGTH, MAX_LABELS, ImageLimits, check_size
from framemesh.times import parse_time
from gateway.access import Access
from gateway.metrics import GatewayMetrics
from tests.console.conftest import TOKENS, VIEWER
from tests.pictures import jpeg

SMALL = ImageLimits(max_bytes=1024**2, max_pixels=4)


def model(text: str) -> Callable[[], object]:
    return lambda: specs.parse(text)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (model("a/b,runtime=x"), "런타임에 'x' 값은 쓸 수 없습니다. onnx 또는 torch를 쓰세요."),
        (model("a/b,precision=x"), "정밀도에 'x' 값은 쓸 수 없습니다. fp32, int8, fp16, bf16 중에서 고르세요."),
        (model("a/b,precision=bf16"), "정밀도 'bf16'에는 런타임 torch가 필요합니다. onnx로는 쓸 수 없습니다."),
        (model("a/b,policy=x"), "정책에 'x' 값은 쓸 수 없습니다."),
        (model("a/b,policy=fps=0"), "초당 프레임에 0.0 값은 쓸 수 없습니다. 0.001에서 1000까지 쓰세요."),
        (model("a/b,replicas=99"), "서버 수에 '99' 값은 쓸 수 없습니다. 0에서 64까지 쓰세요."),
        (model("a/b,shadow=x"), "섀도에 'x' 값은 쓸 수 없습니다."),
        (model("a/b,start=soon"), "시작 시각에 'soon' 값은 쓸 수 없습니다. 'soon': 시각이 아닙니다."),
        (model("a/b,revision=\n"), "눈에 보이는 문자로 1024자까지 적으세요."),
        (model("a/b" + MAX_LABELS * ",label=x" + ",label=y"), f"{MAX_LABELS}개까지 적으세요."),
        (model("a/b,label= "), f"레이블에 ' ' 값은 쓸 수 없습니다. 1자에서 {MAX_LABEL_LENGTH}자까지 적으세요."),
        (model("a/b,camera=A"), "'A': 카메라 이름으로 쓸 수 없습니다."),
        (model("a/b,cameras=x"), "'cameras': 없는 모델 옵션입니다."),
        (model("a/b,shadow"), "모델 'a/b,shadow'의 'shadow'에 값이 없습니다."),
        (lambda: parse_time("soon", now=datetime.now(UTC)), "'soon': 시각이 아닙니다. 얼마나 전인지(90s, 15m, 2h, 7d)"),
        (lambda: check_label_text(""), "'': 레이블로 쓸 수 없습니다."),
        (lambda: read_header(b"", SMALL), "사진이 비어 있습니다."),
        (lambda: read_header(b"words", SMALL), "읽을 수 있는 사진이 아니거나"),
        (lambda: read_header(jpeg()[:-2], ImageLimits()), "JPEG가 중간에 끊겼습니다."),
        (lambda: read_header(jpeg(), SMALL), "4픽셀까지 됩니다."),
        (lambda: check_size(2 * 1024**2, SMALL), "1,048,576바이트까지 됩니다."),
    ],
)
def test_what_is_wrong_is_told_in_korean(wrong: Callable[[], object], told: str) -> None:
    with pytest.raises((FramemeshError, ValueError)) as raised:
        wrong()
    assert told in in_language(raised.value, translator("ko"))
    assert in_language(raised.value, translator("en")) == str(raised.value)


def test_a_role_that_does_not_reach_so_far_is_told_in_korean(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(TOKENS)
    access = Access(file, GatewayMetrics(CollectorRegistry()))
    with pytest.raises(FramemeshError) as raised:
        access.authorize("/framemesh.v1.ModelService/DeployModel", (("authorization", f"Bearer {VIEWER}"),))
    assert in_language(raised.value, translator("ko")).startswith(
        "토큰 'wall'의 역할은 read이고, DeployModel에는 admin"
    )


@pytest.mark.parametrize("task", Task)
def test_when_models_agree_and_how_nearly_is_told_in_korean(task: Task) -> None:
    judge = judge_of(task, min_score=0.5)
    for words in (judge.rule, *(gauge.meaning for gauge in judge.measures.values())):
        assert in_language(words, translator("ko")) != words


@pytest.mark.parametrize("clusters", [1, 5])
def test_what_to_know_of_a_comparison_is_told_in_korean(clusters: int) -> None:
    sides = {
        name: SimpleNamespace(side=Side(name), versions=["1", "2"], alone=3, failed=4, staleness=None) for name in "ab"
    }
    classes = [SimpleNamespace(a=1, b=0), SimpleNamespace(a=0, b=1)]
    agreement = SimpleNamespace(clusters=clusters)
    facts = SimpleNamespace(agreement=agreement, compared=5, pairs=9, classes=classes, task=Task.EMBEDDING, **sides)
    found = notes(cast("Comparison", facts))
    assert len(found) == 12
    for words in found:
        assert in_language(words, translator("ko")) != words


def test_what_nobody_has_translated_stays_as_it_came() -> None:
    words = "the {field} can't be: {0}"
    assert in_language(InvalidRequestError(words), translator("ko")) == words
