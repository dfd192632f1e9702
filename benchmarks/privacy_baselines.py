"""What aggregation is held against: Flower's SecAgg+ and plain TenSEAL CKKS, measured as a clinic's work."""

from __future__ import annotations

import functools
import importlib
import os
import statistics
import time

import numpy as np
import numpy.typing as npt

Updates = list[npt.NDArray[np.float32]]


def secaggplus(updates: Updates) -> dict[str, object]:
    """Milliseconds of one client over the four stages of Flower's SecAgg+ (every client a neighbour of every
    other, its default), bytes of its masked vector over float32, and whether the sum came out.
    """
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    stages = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
    from flwr.common import ndarrays_to_parameters
    from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition
    from flwr.common.secure_aggregation.quantization import dequantize
    from flwr.common.secure_aggregation.secaggplus_constants import Key
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

    number, dimension = len(updates), len(updates[0])
    clip, target, modulus = 4.0, 1 << 16, 1 << 32
    spent = [0.0] * number
    states = [stages.SecAggPlusState(nid=i + 1) for i in range(number)]
    settings = {
        Key.SAMPLE_NUMBER: number,
        Key.SHARE_NUMBER: number,
        Key.THRESHOLD: number // 2 + 1,
        Key.CLIPPING_RANGE: clip,
        Key.TARGET_RANGE: target,
        Key.MOD_RANGE: modulus,
        Key.MAX_WEIGHT: 1.0,
    }

    def timed(i: int, stage: object, *given: object) -> dict[str, list[bytes]]:
        started = time.perf_counter()
        answer = stage(states[i], *given)  # type: ignore[operator]
        spent[i] += time.perf_counter() - started
        return answer

    keys = [timed(i, stages._setup, settings) for i in range(number)]
    public = {str(i + 1): (key[Key.PUBLIC_KEY_1], key[Key.PUBLIC_KEY_2]) for i, key in enumerate(keys)}
    boxes: dict[int, list[tuple[int, bytes]]] = {i + 1: [] for i in range(number)}
    for i in range(number):
        shared = timed(i, stages._share_keys, public)
        for to, box in zip(shared[Key.DESTINATION_LIST], shared[Key.CIPHERTEXT_LIST], strict=True):
            boxes[int(to)].append((i + 1, box))  # type: ignore[call-overload]
    masked = []
    for i in range(number):
        given = {
            Key.SOURCE_LIST: [source for source, _ in boxes[i + 1]],
            Key.CIPHERTEXT_LIST: [box for _, box in boxes[i + 1]],
        }
        masked.append(
            timed(i, stages._collect_masked_vectors, given, 1, ndarrays_to_parameters([updates[i]]))
        )
    asked = {Key.ACTIVE_NODE_ID_LIST: list(range(1, number + 1)), Key.DEAD_NODE_ID_LIST: []}
    for i in range(number):
        timed(i, stages._unmask, asked)
    arrays = [[_array(data) for data in answer[Key.MASKED_PARAMETERS]] for answer in masked]
    total = functools.reduce(parameters_addition, arrays)
    shapes = [array.shape for array in total]
    for state in states:
        mask = pseudo_rand_gen(state.rd_seed, modulus, shapes)
        total = [(a - m) for a, m in zip(total, mask, strict=True)]
    whole = [array % modulus for array in total]
    mean = dequantize([whole[1].astype(np.float64) / number], clip, target)[0]
    sent = sum(len(data) for data in masked[0][Key.MASKED_PARAMETERS])
    return {
        "secaggplus_client_ms": round(statistics.median(spent) * 1e3, 1),
        "secaggplus_upload_ratio": round(sent / (4 * dimension), 3),
        "secaggplus_sum_right": bool(np.abs(mean - np.mean(updates, 0)).max() < 2 * clip / target),
    }


def _array(data: bytes) -> npt.NDArray[np.int64]:
    from flwr.common import bytes_to_ndarray

    return bytes_to_ndarray(data)


def ckks(updates: Updates) -> dict[str, object]:
    """Milliseconds of one client that encrypts under CKKS (N = 4096, 109 bits, scale 2^40), upload, error."""
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=4096, coeff_mod_bit_sizes=[54, 55]
    )
    context.global_scale = 2**40
    dimension, slots = len(updates[0]), 2048
    spent, sizes, sums = [], 0, []
    for update in updates:
        started = time.perf_counter()
        parts = [tenseal.ckks_vector(context, update[i : i + slots]) for i in range(0, dimension, slots)]
        sizes = sum(len(part.serialize()) for part in parts)
        spent.append(time.perf_counter() - started)
        sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
    found = np.concatenate([part.decrypt() for part in sums])
    return {
        "ckks_client_ms": round(statistics.median(spent) * 1e3, 1),
        "ckks_upload_ratio": round(sizes / (4 * dimension), 2),
        "ckks_largest_error": float(np.abs(found - np.sum(updates, 0, np.float64)).max()),
    }
