import unittest

from NAME import answer


class Test(unittest.TestCase):
    def test_values(self):
        group = {"columns": {"answer": "4"}, "completions": [{"text": "so 4"}, {"text": "so 5"}, {"text": ""}]}
        self.assertEqual(answer(group), {"scores": [1.0, 0.0, 0.0]})


if __name__ == "__main__":
    unittest.main()
