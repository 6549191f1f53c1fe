"""Two rows each, in the schema that is published, of benchmarks whose files are not at hand.

The columns are the published ones (dataset cards); what they hold is made up here.
"""

from __future__ import annotations

from typing import Any

ROWS: dict[str, list[dict[str, Any]]] = {
    "mbpp": [
        {
            "task_id": 11,
            "text": "Write a python function to double a number.",
            "code": "def double(n):\r\n    return 2 * n",
            "test_list": ["assert double(2) == 4", "assert double(-1) == -2"],
            "test_setup_code": "",
            "challenge_test_list": [],
        },
        {
            "task_id": 12,
            "text": "Write a function to find the area of a disc.",
            "code": "import math\r\ndef disc(r):\r\n    return math.pi * r ** 2",
            "test_list": ["assert math.isclose(disc(2), 4 * math.pi)"],
            "test_setup_code": "import math",
            "challenge_test_list": ["assert disc(0) == 0"],
        },
    ],
    "gpqa_diamond": [
        {
            "Record ID": f"rec{number}",
            "Question": f"Which particle is number {number}?",
            "Correct Answer": "the muon\n",
            "Incorrect Answer 1": "the pion",
            "Incorrect Answer 2": "the kaon",
            "Incorrect Answer 3": "the tau",
            "High-level domain": "Physics",
            "Subdomain": "High-energy particle physics",
            "Explanation": "It is.",
        }
        for number in (1, 2)
    ],
    "mmlu_pro": [
        {
            "question_id": 70,
            "question": "Which is the tenth letter?",
            "options": [f"{letter}!" for letter in "ABCDEFGHIJ"],
            "answer": "J",
            "answer_index": 9,
            "cot_content": "",
            "category": "business",
            "src": "ori_mmlu-x",
        },
        {
            "question_id": 71,
            "question": "Which is the second?",
            "options": ["one", "two", "three"],
            "answer": "B",
            "answer_index": 1,
            "cot_content": "",
            "category": "law",
            "src": "ori_mmlu-y",
        },
    ],
    "medqa": [
        {
            "question": f"A {age}-year-old coughs. What is next?",
            "answer": "X-ray",
            "options": {"A": "Rest", "B": "X-ray", "C": "Surgery", "D": "Nothing"},
            "meta_info": "step2&3",
            "answer_idx": "B",
            "metamap_phrases": ["coughs"],
        }
        for age in (23, 40)
    ],
    "finqa": [
        {
            "id": "ETR/2016/page_23.pdf-2",
            "pre_text": ["entergy results .", "in millions ."],
            "post_text": ["."],
            "table": [["", "2015", "2014"], ["net revenue", "$ 5829", "$ 5735"]],
            "question": "what is the growth rate of net revenue?",
            "answer": "1.6%",
            "exe_ans": "0.01639",
        },
        {
            "id": "ETR/2016/page_24.pdf-1",
            "pre_text": ["."],
            "post_text": [],
            "table": [["", "2015"], ["net income", "12"]],
            "question": "was net income above 10?",
            "answer": "",
            "exe_ans": "yes",
        },
    ],
    "chess_puzzles": [
        {
            "PuzzleId": "0009B",
            "FEN": "r2qr1k1/b1p2ppp/pp4n1/P1P1p3/4P1n1/B2P2Pb/3NBP1P/RN1QR1K1 b - - 1 16",
            "Moves": "b6c5 e2g4 h3g4 d1g4",
            "Rating": 1112,
            "RatingDeviation": 74,
            "Popularity": 87,
            "NbPlays": 569,
            "Themes": "advantage middlegame short",
            "GameUrl": "https://lichess.org/4MWQCxQ6/black#31",
            "OpeningTags": "Kings_Pawn_Game",
        },
        {
            "PuzzleId": "mate1",
            "FEN": "6k1/p4ppp/8/8/8/8/5PPP/1R1R2K1 b - - 0 1",
            "Moves": "a7a6 b1b8",
            "Rating": 400,
            "RatingDeviation": 80,
            "Popularity": 90,
            "NbPlays": 10,
            "Themes": ["mateIn1", "backRankMate"],  # lists since 2025, text before
            "GameUrl": "",
            "OpeningTags": [],
        },
    ],
}
