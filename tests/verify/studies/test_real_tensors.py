from __future__ import annotations

import time

from kernelproof.verify.record.schema import Table
from kernelproof.verify.studies.real_tensors import real_tensor_studies


def test_the_studies_are_complete_tables_and_quick() -> None:
    start = time.process_time()
    tables = real_tensor_studies(seed=0)
    spent = time.process_time() - start
    assert {table.id: len(table.rows) for table in tables} == {
        "key-norms": 36,
        "key-norm-term": 108,
        "sparsity": 21,
        "softmax-distance": 63,
        "softmax-slopes": 6,
    }
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert Table.model_validate_json(table.model_dump_json()) == table
    # The quick suite has 20 s on two cores for everything; these are to take a quarter of that at most.
    assert spent < 5
