import unittest

from NAME import compute_score


class Test(unittest.TestCase):
    def test_values(self):
        for text, want in [("so 4", 1.0), ("so 5", 0.0), ("", 0.0)]:
            self.assertEqual(compute_score("mine", text, "4")["score"], want, text)


if __name__ == "__main__":
    unittest.main()
