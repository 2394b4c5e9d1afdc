// Package instruction checks instructions that a program can verify: the 25 kinds of
// IFEval (Zhou et al., arXiv:2311.07911), such as "at least 300 words" or "no
// commas". A row of the data names them in the columns instruction_id_list and
// kwargs, as IFEval does.
//
// Words, letters, keywords, paragraphs, bullets and the like are counted as IFEval's
// own checkers do. Two things are simpler here: sentences end at . ! or ? before
// white space (abbreviations such as "Dr." do not end one), and a language is
// recognised by package language, which tells scripts apart and the common languages
// of the Latin one.
package instruction
