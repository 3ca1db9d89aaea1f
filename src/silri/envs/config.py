"""How an environment is set up, one class per family."""

from __future__ import annotations

from typing import Annotated, Literal

from silri.core.errors import ConfigError
from silri.core.settings import Field, Positive, PositiveInt, settings

SUCCESS_KEYS = ("success", "is_success")  # of an info; the first that is there counts

Gripper = Literal["discrete", "continuous"]


@settings("env")
class EnvConfig:
    """Fields that every environment has; each family adds its own."""

    # decisions until the time-out; None: the environment's own limit
    max_episode_steps: PositiveInt | None = None
    # rewards: the two below, with success ending the episode, or the environment's own
    reward: Literal["sparse", "env"] = "env"
    # sparse reward of the step that succeeds
    success_reward: float = 10.0
    # sparse reward of every other step
    step_reward: float = -0.05
    # whether success ends the episode; with False it goes on to the time-out, where it can
    end_on_success: bool = True
    # added in a step that opens or closes a gripper; only grasp critics use it
    grasp_penalty: Annotated[float, Field(le=0)] = -0.02

    @property
    def sparse(self) -> bool:
        """Whether rewards are ``success_reward`` and ``step_reward``."""
        return self.reward == "sparse"

    def describe_success(self) -> str:
        """How it is known whether the task was done: printed at the start of a run."""
        return "success: as the environment says, info['success']"


@settings("env")
class MetaworldConfig(EnvConfig):
    """A Meta-World task."""

    # decisions until the time-out
    max_episode_steps: PositiveInt = 100
    # rewards: the two below, with success ending the episode, or Meta-World's dense one
    reward: Literal["sparse", "env"] = "sparse"
    # simulator steps per decision
    action_repeat: PositiveInt = 2
    # half-width in metres of the box of layouts around its centre; None: the task's whole range
    reset_range: Positive | None = None
    # whether the gripper is open or closed, or one more continuous dimension
    gripper: Gripper = "discrete"
    # what a policy sees: numbers of hand, objects and goal; or two cameras and the hand's numbers
    observation: Literal["vector", "pixels"] = "vector"
    # pixels per side of a camera's picture
    image_size: Annotated[int, Field(ge=32, le=512)] = 128

    def describe_success(self) -> str:
        """See the base class."""
        return "success: as Meta-World says"


LANGUAGE_TASKS = (
    "drawer-open",
    "drawer-close",
    "window-open",
    "window-close",
    "button-press",
    "reach-left",
    "reach-right",
)


@settings("env")
class MetaworldLanguageConfig(EnvConfig):
    """Meta-World's scenes with a task that is said in words."""

    # decisions until the time-out
    max_episode_steps: PositiveInt = 100
    # rewards: the two below, with success ending the episode
    reward: Literal["sparse"] = "sparse"
    # simulator steps per decision
    action_repeat: PositiveInt = 2
    # whether the gripper is open or closed, or one more continuous dimension
    gripper: Gripper = "discrete"
    # what may be asked for; each episode draws one of them
    tasks: tuple[str, ...] = LANGUAGE_TASKS
    # whose words: train, test (never trained on), or shuffled: those of another task of the scene
    phrasings: Literal["train", "test", "shuffled"] = "train"

    def __post_init__(self) -> None:
        odd = [task for task in self.tasks if task not in LANGUAGE_TASKS]
        if odd or not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(
                f"env.tasks takes some of {', '.join(LANGUAGE_TASKS)}, each once; got "
                f"{', '.join(self.tasks) or 'none'}"
            )

    def describe_success(self) -> str:
        """See the base class."""
        return "success: the state that the instruction asks for"


@settings("env")
class GymConfig(EnvConfig):
    """A Gymnasium environment."""

    # environment steps per decision
    action_repeat: PositiveInt = 1
    # indices of the action dimensions that are grippers, either open or closed
    gripper_dims: tuple[Annotated[int, Field(ge=0)], ...] = ()
    # key of info that says whether the task was done; None tries success, then is_success
    success_key: Annotated[str, Field(min_length=1)] | None = None
    # success is an episode whose return (rewards of the environment) is at least this at its end
    success_return: float | None = None
    # names of the cameras to keep, such as front; None keeps all
    image_keys: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    # pixels per side of pictures, whose middle square is resized to that; None: as they are
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None

    def __post_init__(self) -> None:
        if self.success_key is not None and self.success_return is not None:
            raise ConfigError(
                f"env.success_key '{self.success_key}' and env.success_return "
                f"{self.success_return:g} exclude each other: give one"
            )

    def describe_success(self) -> str:
        """See the base class."""
        if self.success_return is not None:
            return f"success: an episode whose return is at least {self.success_return:g}"
        if self.success_key is not None:
            return f"success: info['{self.success_key}']"
        return (
            "success: info['success'] or info['is_success']; without either, an end with a "
            "positive reward (--env.success-key NAME and --env.success-return X say otherwise)"
        )


@settings("env")
class PickCubeConfig(GymConfig):
    """gym-hil's Franka that picks up a cube."""

    # decisions until the time-out
    max_episode_steps: PositiveInt = 100
    # rewards: the two below, with success ending the episode, or gym-hil's 1 for success
    reward: Literal["sparse", "env"] = "sparse"
    gripper_dims: tuple[Annotated[int, Field(ge=0)], ...] = (3,)
    success_key: Annotated[str, Field(min_length=1)] | None = "succeed"
    # pixels per side of a camera's picture
    image_size: Annotated[int, Field(ge=32, le=512)] | None = 128
    # what a policy sees: numbers of robot and cube; or two cameras and the robot's numbers
    observation: Literal["vector", "pixels"] = "vector"


@settings("env")
class ArrangeBoxesConfig(PickCubeConfig):
    """gym-hil's Franka that puts five boxes on their marks."""

    # decisions until the time-out
    max_episode_steps: PositiveInt = 400


@settings("env")
class So101Config(GymConfig):
    """A simulated SO-101 and a cube."""

    # decisions until the time-out
    max_episode_steps: PositiveInt = 100
    # rewards: the two below, with success ending the episode, or the package's 1 for success
    reward: Literal["sparse", "env"] = "sparse"
    # what an action moves: the hand, in metres; or the five joints, as a leader arm does
    control: Literal["hand", "joints"] = "hand"
    success_key: Annotated[str, Field(min_length=1)] | None = "succeed"
    # pixels per side of a camera's picture
    image_size: Annotated[int, Field(ge=32, le=512)] | None = 128
    # what a policy sees: numbers of arm, cube and goal; or two cameras and the arm's numbers
    observation: Literal["vector", "pixels"] = "vector"


@settings("env")
class PushTConfig(GymConfig):
    """A T that is pushed into its outline."""

    # decisions until the time-out
    max_episode_steps: PositiveInt = 300
    # rewards: the two below, with success ending the episode, or gym-pusht's covered share
    reward: Literal["sparse", "env"] = "sparse"
    success_key: Annotated[str, Field(min_length=1)] | None = "success"
    # pixels per side of the camera's picture
    image_size: Annotated[int, Field(ge=32, le=512)] | None = 96
    # what a policy sees: corners of the T; or one camera. The pusher's place in both
    observation: Literal["vector", "pixels"] = "vector"
