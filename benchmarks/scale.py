"""What many users and items cost, on paper: `python -m benchmarks.scale [--users N] [--items N]`.

Nothing runs here. Measured rates, each with the page that has it, are multiplied; `docs/scale.md` quotes the output.
"""

import argparse
from dataclasses import dataclass

HOUR = 3600
GB = 1e9


@dataclass(frozen=True)
class Model:
    """A backbone: weights of its linear layers, and D, the width of its states."""

    name: str
    layers: int
    width: int
    kv: int
    inner: int

    @property
    def weights(self) -> int:
        """Weights of the linear layers: queries and outputs, keys and values, three of the feed-forward part."""
        return self.layers * (2 * self.width**2 + 2 * self.width * self.kv + 3 * self.width * self.inner)


SMOLLM = Model("smollm2-135m", 30, 576, 192, 1536)
SMOLLM_12 = Model("smollm2-135m, 12 layers", 12, 576, 192, 1536)
LLAMA = Model("llama-3.2-1b", 16, 2048, 512, 8192)

# docs/gpu.md, "What was measured": one H100, shape of Llama-3.2-1B, training
H100_PRODUCTS, H100_SHARE = 732e12, 0.34
# docs/results.md, "Trained on a GPU": item head, 12 layers, ml-1m, one epoch, nine runs beside each other on the card
ITEM_HEAD_TARGETS, ITEM_HEAD_SECONDS = 534_185, 219
# docs/results.md, "What they cost": 30 layers, item patches; positions a target, and best 20 of 16 prompts on 2 cores
POSITIONS_A_TARGET = 2.12
CPU_SECONDS_A_PROMPT = 3.30 / 16
# docs/results.md, "Generated catalogs": 1,000,000 titles, prefill and what the search takes beyond it, on 2 cores
TITLES_BEYOND, TITLES_SEARCHED_MB = 2.072, 230
# docs/results.md, "Ranking": products of the prefill's shapes on 2 cores
CPU_PRODUCTS = 110e9
# docs/gpu.md, "Without network": store.db with both MovieLens
STORE_BYTES, STORE_INTERACTIONS = 19e6, 51_824 + 575_281
INSTRUCTION = 26  # positions of the continuation prompt around a history


def prompt_flops(model: Model, positions: int) -> float:
    """Forward pass of a prompt: two operations a weight and position, four a pair of positions, layer and dimension."""
    pairs = positions * (positions + 1) / 2
    return 2 * model.weights * positions + 4 * pairs * model.layers * model.width


def head_flops(model: Model, items: int) -> float:
    """Scores of all items after a prompt: one product with their vectors."""
    return 2 * items * model.width


def training_flops(model: Model, items: int) -> float:
    """A target's forward and backward pass: six operations a weight and position, and six a number of the head."""
    return 6 * model.weights * POSITIONS_A_TARGET + 3 * head_flops(model, items)


def index_pays(model: Model, positions: int) -> float:
    """Items from where scoring all of them costs more than the prompt before it."""
    return prompt_flops(model, positions) / (2 * model.width)


def report(users: int, items: int, history: int) -> str:
    """The whole bill."""
    interactions, prompt = users * history, INSTRUCTION + history
    gpu = H100_PRODUCTS * H100_SHARE
    lines = [f"{users:,} users, {items:,} items, {history} items a user: {interactions:,} interactions", ""]

    def row(what: str, value: float, unit: str) -> None:
        shown = f"{value:,.0f}" if value >= 10 else f"{value:,.1f}" if value >= 0.1 else f"{value:,.2f}"
        lines.append(f"{what:<66}{shown:>9} {unit}")

    lines.append("Training, every target once, item head")
    row("smollm2-135m, 12 layers, at the rate of ml-1m (a shared card)",
        interactions / (ITEM_HEAD_TARGETS / ITEM_HEAD_SECONDS) / HOUR, "H100 h")  # fmt: skip
    for model in (SMOLLM_12, LLAMA):
        hours = interactions * training_flops(model, items) / gpu / HOUR
        row(f"{model.name}, at {H100_SHARE:.0%} of the products", hours, "H100 h")
        row("  of it the softmax over all items", interactions * 3 * head_flops(model, items) / gpu / HOUR, "H100 h")
    row("ten targets a user (--user-targets 10), at the rate of ml-1m",
        10 * users / (ITEM_HEAD_TARGETS / ITEM_HEAD_SECONDS) / HOUR, "H100 h")  # fmt: skip
    lines += ["", "Recommending once to everybody, item head, item patches"]
    row("smollm2-135m, as measured on 2 cores", users * CPU_SECONDS_A_PROMPT / HOUR, "h of 2 cores")
    for model in (SMOLLM, LLAMA):
        flops = prompt_flops(model, prompt) + head_flops(model, items)
        row(f"{model.name}, at {H100_SHARE:.0%} of the products", users * flops / gpu / HOUR, "H100 h")
    row("smollm2-135m by titles, as searched on 2 cores", users * (CPU_SECONDS_A_PROMPT + TITLES_BEYOND) / HOUR,
        "h of 2 cores")  # fmt: skip

    lines += ["", "Scores of all items beside the prompt before them"]
    for model in (SMOLLM, LLAMA):
        row(f"{model.name}, share of the prompt's operations",
            100 * head_flops(model, items) / prompt_flops(model, prompt), "%")  # fmt: skip
        row("  as much as the prompt from", index_pays(model, prompt) / 1e6, "million items")
    row("smollm2-135m on 2 cores, a user", 1000 * head_flops(SMOLLM, items) / CPU_PRODUCTS, "ms")

    lines += ["", "Memory and disk"]
    row("sequences in memory (item and time, 8 bytes each)", interactions * 16 / GB, "GB")
    row("the same with ratings", interactions * 24 / GB, "GB")
    row("store, at the bytes of both MovieLens", interactions * STORE_BYTES / STORE_INTERACTIONS / GB, "GB")
    for model in (SMOLLM, LLAMA):
        row(f"item vectors, float32, width {model.width}", 4 * items * model.width / GB, "GB")
        row("  trained as a table of their own (weights, gradients, moments)", 16 * items * model.width / GB, "GB")
    row("scores of 512 users, float32", 512 * items * 4 / GB, "GB")
    row("search of 1,000,000 titles above the model", TITLES_SEARCHED_MB / 1000, "GB")
    row("merging parts of k = 20 (20 bytes a row)", users * 20 * 20 / GB, "GB")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--history", type=int, default=100, help="items a user")
    given = parser.parse_args(arguments)
    print(report(given.users, given.items, given.history))


if __name__ == "__main__":
    main()
