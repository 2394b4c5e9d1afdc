import unittest

from NAME import NAME


class Test(unittest.TestCase):
    def test_values(self):
        self.assertEqual(NAME(completions=["so 4", "so 5", ""], answer=["4", "4", "4"]), [1.0, 0.0, 0.0])

    def test_messages(self):
        self.assertEqual(NAME(completions=[[{"role": "assistant", "content": "4"}]], answer=["4"]), [1.0])


if __name__ == "__main__":
    unittest.main()
