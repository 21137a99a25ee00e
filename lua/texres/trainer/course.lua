--- Where a run stands on the curve of its schedule, also when its number of steps was changed on the way.
--
-- A schedule is a curve over the steps 1..total that a run was planned for at first. When the run is made longer or
-- shorter later on, what is left of the curve is spread over the steps that are left: the rate goes on from where it
-- is, and ends where it would have ended. Where nothing is left of the curve, the last rate stays.
--
-- A course is plain data: { total =, planned =, step =, position = }. Step number `step` stands at `position` of the
-- curve, step number `planned` at its end, `total`, and between them the run goes straight on.

local course = {}

function course.new(total) return { total = total, planned = total, step = 0, position = 0 } end

--- The position on the curve, from 1 to total, of a step.
function course.position(self, step)
  local ahead, left, curve = step - self.step, self.planned - self.step, self.total - self.position
  if ahead <= 0 or curve <= 0 then return self.position end
  if left == curve then return math.min(self.position + ahead, self.total) end -- as planned: a whole number
  if ahead >= left then return self.total end
  return self.position + ahead * curve / left
end

--- The course of a run of `planned` steps, of which `step` are done.
function course.replan(self, step, planned)
  if planned == self.planned then return self end
  if step == 0 then return course.new(planned) end
  return { total = self.total, planned = planned, step = step, position = course.position(self, step) }
end

return course
