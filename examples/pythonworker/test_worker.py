"""python3 -m unittest, with temporalio installed."""
import asyncio
import unittest

from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

import worker


class Test(unittest.TestCase):
    def judge(self, group):
        return asyncio.run(ActivityEnvironment().run(worker.judge, group))

    def test_scores(self):
        group = {"version": 1, "completions": [{"answer": "a few words"}, {"answer": "word " * 75}, {"answer": "word " * 200}]}
        self.assertEqual([s["value"] for s in self.judge(group)["scores"]], [1.0, 0.5, 0.0])

    def test_version(self):
        with self.assertRaises(ApplicationError):
            self.judge({"version": 2, "completions": []})


if __name__ == "__main__":
    unittest.main()
