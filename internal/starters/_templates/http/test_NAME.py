import unittest

import NAME


class Test(unittest.TestCase):
    def test_values(self):
        group = {"columns": {"answer": "4"}, "completions": [{"text": "so 4"}, {"text": "so 5"}, {"text": ""}]}
        self.assertEqual(NAME.answer(group), {"scores": [1.0, 0.0, 0.0]})

    def test_signature(self):
        NAME.SECRET = b"secret"
        want = NAME.hmac.new(b"secret", b"100.body", NAME.hashlib.sha256).hexdigest()
        good = {"X-Grouse-Timestamp": "100", "X-Grouse-Signature": want}
        self.assertTrue(NAME.signed(good, b"body", 100))
        self.assertFalse(NAME.signed(good, b"other", 100))
        self.assertFalse(NAME.signed(good, b"body", 1000))
        self.assertFalse(NAME.signed({}, b"body", 100))


if __name__ == "__main__":
    unittest.main()
