--- The rules that hold everywhere, one block each, tried along every route that leads through them. Where two places
-- answer the same question, this is where their answers are compared.

describe("what an integer image is worth", function()
end)

describe("class names", function()
end)

describe("a model's normalization", function()
end)

describe("column types", function()
end)

describe("what a dtype can hold", function()
end)

describe("any locale", function()
end)
