"""The training itself: transformers' Trainer, with checkpoints in the lake and an end that can be gone on from."""

import os
from typing import Any

import structlog
import torch
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from framemesh.errors import LakeUnavailableError
from trainer.augmenting import varied
from trainer.checkpoints import Run, step_of
from trainer.orders import Choices
from trainer.reading import Dataset
from trainer.scoring import Learnt
from trainer.stopping import InterruptedTrainingError, stopping
from trainer.tasks import Task, picture
from trainer.telling import Tell

log = structlog.get_logger()

_PRETRAINED_SHARE = 0.05
_WEIGHT_DECAY = 1e-2
_WARM_UP = 0.1  # of all steps, in which the rate goes up to its highest
_FROZEN_EPOCHS = 1
_TOLD_STEPS = 10


def learn(task: Task, dataset: Dataset, choices: Choices, run: Run, tell: Tell) -> Learnt:
    """Teach the task's model the dataset, from where an interrupted run stopped; it is then the best that it was.

    Raises:
        InterruptedTrainingError: It was told to stop by a signal.
        LakeUnavailableError: The lake can't be reached now.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.metrics)
    newest = run.restore()
    with stopping() as stop:
        progress = _Progress(tell, stop, run, choices)
        trainer = _trainer(task, dataset, choices, run, progress, fresh=newest is None)
        if newest is not None:
            tell("resuming", at_step=step_of(newest.name))
        trainer.train(resume_from_checkpoint=str(newest) if newest is not None else None)
        if stop:
            run.keep()
            raise InterruptedTrainingError
    state = trainer.state
    tell("testing", pictures=len(dataset.splits["test"]))
    scores = task.scored(trainer.predict(_Examples(dataset, "test", task)), seed=choices.seed)
    a_epoch = max(1, round(state.max_steps / choices.epochs))
    return Learnt(scores, float(state.epoch or 0), (state.best_global_step or state.global_step) / a_epoch)


def _trainer(
    task: Task, dataset: Dataset, choices: Choices, run: Run, progress: TrainerCallback, *, fresh: bool
) -> Trainer:
    at_once = choices.batch_size if dataset.same_sized or task.same_sized() else 1
    optimizer = _optimizer(task, choices)
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=at_once,
        gradient_accumulation_steps=choices.batch_size // at_once,
        num_train_epochs=choices.epochs,
        learning_rate=choices.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=_WARM_UP,
        eval_strategy="epoch",
        eval_on_start=fresh,
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=True,
        metric_for_best_model=task.best,
        greater_is_better=task.more_is_better,
        eval_do_concat_batches=task.best == "loss",
        report_to=["tensorboard"],
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        seed=choices.seed,
        # Pictures are varied by the process whose state of chance is in the checkpoint.
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = _Trainer(
        task,
        model=task.model,
        args=arguments,
        train_dataset=_Examples(dataset, "train", task),
        eval_dataset=_Examples(dataset, "validation", task),
        data_collator=task.collated,
        compute_metrics=task.measured,
        optimizers=(optimizer, None),
        callbacks=[EarlyStoppingCallback(task.patience), _Freezing(task, choices), progress],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _optimizer(task: Task, choices: Choices) -> torch.optim.Optimizer:
    """AdamW with a small rate for what has learnt already."""
    pretrained = {id(parameter) for parameter in task.pretrained().parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in task.model.parameters():
        old = id(parameter) in pretrained
        if choices.head_only and old:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            groups.setdefault((old, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": choices.learning_rate * (_PRETRAINED_SHARE if old else 1.0),
                "weight_decay": _WEIGHT_DECAY if decays else 0.0,
            }
            for (old, decays), parameters in groups.items()
        ]
    )


class _Trainer(Trainer):
    """transformers' own, but statistics of batches stay those of the base: a few pictures at once would spoil them."""

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(**options)
        self._task = task
        self.model_accepts_loss_kwargs = False

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._load(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint is not None:
            self._load(self.state.best_model_checkpoint)

    def _load(self, checkpoint: str) -> None:
        """Load weights as they were saved: the Trainer leaves out those that a model names otherwise in files."""
        saved = type(self._task.model).from_pretrained(checkpoint, use_safetensors=True)
        self._task.model.load_state_dict(saved.state_dict())

    def compute_loss(  # type: ignore[override]  # it returns a pair where it is asked to
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        **_: Any,
    ) -> Any:
        """The task's loss."""
        if model.training:
            _calm(self._task.pretrained())
        outputs = model(**inputs)
        loss = self._task.loss(outputs, inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: Any = None,
    ) -> Any:
        """Loss, what the task looks at, and the truth."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        said = tuple(each.detach() for each in self._task.said(outputs))
        return loss.detach().mean(), said[0] if len(said) == 1 else said, inputs["labels"]


def _calm(pretrained: nn.Module) -> None:
    """Have nothing vary or adapt in what stays as it is, and no statistics of batches anywhere in the pretrained."""
    frozen = not any(parameter.requires_grad for parameter in pretrained.parameters())
    for module in pretrained.modules():
        if frozen or isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - there is no public name
            module.train(mode=False)


class _Freezing(TrainerCallback):
    """Keeps the pretrained part as it is at first: what is new would else throw it about with its early mistakes."""

    def __init__(self, task: Task, choices: Choices) -> None:
        self._pretrained = [each for each in task.pretrained().parameters() if each.requires_grad]
        self._epochs = choices.epochs if choices.head_only else min(_FROZEN_EPOCHS, choices.epochs - 1)

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Set what may be learnt in this epoch."""
        for parameter in self._pretrained:
            parameter.requires_grad_(int(state.epoch or 0) >= self._epochs)


class _Progress(TrainerCallback):
    """Tells how it goes, keeps checkpoints in the lake, and ends the training once it is told to stop."""

    def __init__(self, tell: Tell, stop: list[int], run: Run, choices: Choices) -> None:
        self._tell = tell
        self._stop = stop
        self._run = run
        self._epochs = choices.epochs
        self._loss: float | None = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Tell how far it is; where it is to stop, save."""
        if state.global_step % _TOLD_STEPS == 0:
            self._tell("training", share=round(state.global_step / max(1, state.max_steps), 4))
        if self._stop:
            control.should_training_stop = control.should_save = True

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """An epoch that was cut is neither measured nor saved once more."""
        if self._stop:
            control.should_evaluate = control.should_save = control.should_log = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Any = None,
        **_: Any,
    ) -> None:
        """Remember the loss of the epoch."""
        self._loss = (logs or {}).get("loss", self._loss)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any = None,
        **_: Any,
    ) -> None:
        """Tell what the epoch came to."""
        found = {key.removeprefix("eval_"): round(float(value), 4) for key, value in (metrics or {}).items()}
        kept = {key: found[key] for key in ("loss", "accuracy", "mean_recall", "map50") if key in found}
        if not state.global_step:
            self._tell("before", validation=kept)
            return
        self._tell("epoch", epoch=round(state.epoch or 0), epochs=self._epochs, loss=self._loss, validation=kept)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Keep the checkpoint; where the lake is away, the next one is another try."""
        try:
            self._run.keep()
        except LakeUnavailableError as error:
            log.warning("checkpoint.not_kept", step=state.global_step, error=str(error))


class _Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """A split as the Trainer takes it: pictures are decoded when their turn comes, and varied where they are learnt."""

    def __init__(self, dataset: Dataset, split: str, task: Task) -> None:
        self._examples = dataset.splits[split]
        self._varied = split == "train"
        self._task = task

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._examples[index]
        image = picture(example.path)
        if self._varied:
            image, example = varied(image, example)
        return self._task.encoded(image, example)
